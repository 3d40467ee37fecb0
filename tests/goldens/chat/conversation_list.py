"""Conversations that the templates are rendered with. Every template meets every conversation,
those it refuses included."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a \"place\" <now> & here",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "A town,\nor a village"},
        "unit": {"type": "string", "enum": ["°C", "°F"], "default": "°C"},
        "days": {"type": ["integer", "null"]},
        "where": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                  "required": ["lat"]}},
        "required": ["place"]}}}
SEARCH = {"name": "search", "description": "检索 🔍", "parameters": {
    "type": "object", "properties": {"terms": {"type": "array", "items": {"type": "string"}}, "limit": {"default": 1.50}},
    "additionalProperties": False}}
PING = {"type": "function", "function": {"name": "ping"}}


def system(text): return {"role": "system", "content": text}
def user(text): return {"role": "user", "content": text}
def assistant(text, *calls):
    message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    return message
def tool(text): return {"role": "tool", "content": text}
def parts(*texts): return [{"type": "text", "text": t} for t in texts]


BASE = [system("You are brief."), user("Hi"), assistant("Hello."), user("How are you?")]
CALLS = [user("Weather?"), assistant("", ("get_weather", {"place": "Zürich", "unit": "°C"})), tool("{\"t\": 3.0}"), assistant("3 °C.")]

CONVERSATIONS = [
    {"title": "one user turn", "messages": [user("Hi")]},
    {"title": "one user turn, prompt", "messages": [user("Hi")], "add_generation_prompt": True},
    {"title": "system and turns", "messages": BASE},
    {"title": "system and turns, prompt", "messages": BASE, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"},
    {"title": "tokens only", "messages": BASE, "bos_token": "<|begin|>", "eos_token": "<|end|>"},
    {"title": "ends with the assistant", "messages": BASE[:3], "bos_token": "<s>", "eos_token": "</s>"},
    {"title": "empty content", "messages": [system(""), user(""), assistant("")], "add_generation_prompt": True},
    {"title": "white space content", "messages": [user("  \n hi \t\n"), assistant("\n\n yes \u00a0"), user("\u3000ok\u2003")]},
    {"title": "no messages", "messages": []},
    {"title": "no messages, prompt", "messages": [], "add_generation_prompt": True},
    {"title": "unicode", "messages": [system("Grüße, 世界"), user("🙂👩‍👩‍👧 e\u0301 ﷺ"), assistant("안녕\u200b\u2028.")], "add_generation_prompt": True},
    {"title": "markup in content", "messages": [user("<b>&amp;</b> {{ 1 }} {% if %} {# c #} <|im_end|> ' \" \\n")]},
    {"title": "tools without system", "messages": [user("Weather?")], "tools": [WEATHER], "add_generation_prompt": True},
    {"title": "tools and system", "messages": BASE, "tools": [WEATHER, SEARCH, PING], "add_generation_prompt": True},
    {"title": "empty tools", "messages": BASE, "tools": []},
    {"title": "a call and its reply", "messages": CALLS, "tools": [WEATHER]},
    {"title": "a call without tools given", "messages": CALLS, "add_generation_prompt": True},
    {"title": "content and calls", "messages": [system("s"), user("q"), assistant("Let me see.", ("search", {"terms": ["a", "ß"], "limit": 2}), ("ping", {})), tool("[1, 2]"), tool("pong"), assistant("Done."), user("Thanks")], "tools": [SEARCH, PING], "add_generation_prompt": True},
    {"title": "many calls", "messages": [user("q"), assistant("", ("ping", {}), ("ping", {}), ("ping", {"n": 1e3})), tool("1"), tool("2"), tool("3")], "add_generation_prompt": True},
    {"title": "arguments as text", "messages": [user("q"), assistant("", ("search", "{\"terms\": [\"x\"]}")), tool("none")]},
    {"title": "bare calls", "messages": [user("q"), {"role": "assistant", "content": "c", "tool_calls": [{"name": "ping", "arguments": {"z": None, "a": [True, False, 1.0, -0.0]}}]}, tool("ok")]},
    {"title": "null content", "messages": [user("q"), {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "ping", "arguments": {}}}]}, tool("pong")]},
    {"title": "missing content", "messages": [user("q"), {"role": "assistant"}]},
    {"title": "content lists", "messages": [system(parts("a", "b")), user(parts(" one ", "two")), assistant(parts("three"))], "add_generation_prompt": True},
    {"title": "content lists with an image", "messages": [user([{"type": "image", "url": "x"}, {"type": "text", "text": "what is it?"}]), assistant("A cat.")]},
    {"title": "thoughts", "messages": [user("2+2?"), assistant("<think>\nfour\n</think>\n\n4"), user("3+3?"), assistant("<think>six</think>6")]},
    {"title": "thinking off", "messages": [user("2+2?")], "extra": {"enable_thinking": False}, "add_generation_prompt": True},
    {"title": "thinking on", "messages": [user("2+2?")], "extra": {"enable_thinking": True}, "add_generation_prompt": True},
    {"title": "documents", "messages": BASE, "documents": [{"title": "the b side", "text": "B"}, {"title": "a-side (live)"}], "add_generation_prompt": True},
    {"title": "documents and tools", "messages": [user("q")], "documents": [{"title": "x", "text": "é \"q\" \\"}], "tools": [PING]},
    {"title": "system later", "messages": [user("a"), system("now be formal"), user("b")]},
    {"title": "two users", "messages": [user("a"), user("b")], "add_generation_prompt": True},
    {"title": "other roles", "messages": [{"role": "Huginn", "content": "krah"}, {"role": "developer", "content": "d", "name": "n"}]},
    {"title": "starts with the assistant", "messages": [assistant("first"), user("second")], "add_generation_prompt": True},
    {"title": "numbers and nests", "messages": [user("q"), assistant("", ("f", {"i": 12345678901, "f": 0.1, "e": 1e-07, "n": {"m": {"l": []}}, "s": "a\"b\\c\n\t\u0007\u007f"}))], "tools": [PING]},
    {"title": "available tools", "messages": [user("q")], "extra": {"available_tools": [PING]}},
    {"title": "long", "messages": [m for i in range(40) for m in (user(f"question {i} " + "x" * i), assistant(f"answer {i}\n" * 3))], "add_generation_prompt": True, "bos_token": "<s>"},
]

# Most models have both tokens; every sixth conversation does without.
for number, conversation in enumerate(CONVERSATIONS):
    if number % 6 > 0:
        conversation.setdefault("bos_token", "<|begin_text|>")
        conversation.setdefault("eos_token", "<|end_text|>")
