#!/usr/bin/env python3
"""Renders the cases of this folder with Python's jinja2, set up as transformers sets it up.

    python3 make_goldens.py          rewrites cases.json and conversations.json
    python3 make_goldens.py --check  fails when they differ from what jinja2 says now

Needs jinja2 (written with 3.1.6). See README.md.
"""
import datetime
import json
import pathlib
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from case_list import CASES, VARIABLES
from conversation_list import CONVERSATIONS

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2024, 7, 26, 13, 5, 9)


class Generation(Extension):
    """{% generation %} ... {% endgeneration %}: a block with a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_keep"), [], [], body).set_lineno(line)

    def _keep(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return env


def render(template, variables):
    """{"output": text}, or {"error": true} when jinja2 refuses the template or the rendering."""
    try:
        text = environment().from_string(template).render(**variables)
        text.encode()
        return {"output": text}
    except Exception as error:
        return {"error": True, "jinja2": f"{type(error).__name__}: {error}"}


def conversation_variables(conversation):
    known = {"messages": conversation["messages"], "tools": conversation.get("tools"),
             "documents": conversation.get("documents"),
             "add_generation_prompt": conversation.get("add_generation_prompt", False)}
    for token in ("bos_token", "eos_token"):
        if token in conversation:
            known[token] = conversation[token]
    return {**known, **conversation.get("extra", {})}


def main():
    cases = [{"template": t, **render(t, VARIABLES)} for t in CASES]
    rendered = []
    for path in sorted((HERE / "templates").glob("*.jinja")):
        for conversation in CONVERSATIONS:
            result = render(path.read_text(), conversation_variables(conversation))
            rendered.append({"template": path.name, "conversation": conversation["title"], **result})
    files = {
        "cases.json": {"jinja2": jinja2.__version__, "variables": VARIABLES, "cases": cases},
        "conversations.json": {"jinja2": jinja2.__version__, "conversations": CONVERSATIONS,
                               "rendered": rendered},
    }
    stale = []
    for name, content in files.items():
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        if "--check" in sys.argv:
            if (HERE / name).read_text() != text:
                stale.append(name)
        else:
            (HERE / name).write_text(text)
    if stale:
        sys.exit(f"not what jinja2 {jinja2.__version__} says: {', '.join(stale)}")
    errors = sum("error" in c for c in cases)
    print(f"{len(cases)} cases ({errors} of them errors), {len(rendered)} renderings")


if __name__ == "__main__":
    main()
