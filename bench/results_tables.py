#!/usr/bin/env python3
"""Writes the tables of a results folder into its README.md, between the lines <!-- tables --> and
<!-- end of tables -->: what bench/peers and `plumb bench --json` left there, nothing typed by hand.

usage: results_tables.py [bench/results]
"""
import json
import pathlib
import sys

TITLES = {"peers-reference-april.json": "Public Raven reference, April-70M size (Huginn block)",
          "peers-reference-pocket.json": "Public Raven reference, pocket-raven",
          "peers-llama-cpp.json": "llama.cpp at 136 layers"}
# Figures of `plumb bench` that something was wanted of, or that explain one.
FIGURES = {"forward_bf16": ">= 0.75", "forward_bf16_of_amx": "", "forward_f32": ">= 0.80", "decode_core_bf16": ">= 0.70",
           "decode_core_of_set_bf16": "", "decode_core_f32": "", "decode_core_of_set_f32": "", "decode_core_int8": "",
           "readout_bf16": "", "kv_read_bf16": "", "generate_ms_per_token_bf16": "", "generate_ms_per_token_f32": "",
           "generate_ms_per_token_int8": "", "sweep_overhead": "<= 1.35 x", "store_share": "<= 0.05", "adaptive_batch16": ">= 3 x",
           "adaptive_run_ahead": ""}


def peers(path):
    data = json.loads(path.read_text())
    versions = ", ".join(f"{name} {text.removeprefix('plumb ')}" for name, text in data["versions"].items())
    lines = [f"### {TITLES[path.name]}", "", f"{data['cpu']}, {data['threads']} threads; {versions}; {data['utc']}; [{path.name}]({path.name})", "",
             "| what | precision | peer ms | plumb ms | times faster | wanted | runs |", "|---|---|---|---|---|---|---|"]
    for row in data["rows"]:
        lines.append(f"| {row['what']} | {row['dtype']} | {row['peer_ms']:.1f} | {row['plumb_ms']:.1f} | **{row['times_faster']:.2f}** | {row['target']} | {row['runs']} |")
    return lines + [""]


def number(value):
    return "" if value is None else f"{value:.4g}"


def bench(path):
    data = json.loads(path.read_text())
    ceilings, host = data["ceilings"], data["host"]
    lines = [f"### plumb bench --synthetic {data['model']['name']}", "", f"{host['cpu']}, {host['threads']} threads; {host['utc']}; [{path.name}]({path.name})", "",
             "| ceiling | all threads | one core |", "|---|---|---|"]
    for name, value in ceilings.items():
        if isinstance(value, (int, float)) and not name.startswith("core_set"):
            lines.append(f"| {name} | {number(value)} | {number(ceilings['one_core'].get(name))} |")
    lines += ["", "| figure | value | beside | ratio | wanted | runs |", "|---|---|---|---|---|---|"]
    rows = {row["name"]: row for row in data["rows"]}
    for name, wanted in FIGURES.items():
        if name not in rows:
            continue
        row = rows[name]
        beside = f"{row['of']} {number(row['ceiling'])}" if row.get("ceiling") else ""
        lines.append(f"| {name} | {number(row['value'])} {row['unit']} | {beside} | {number(row.get('ratio'))} | {wanted} | {row['runs']} |")
    return lines + [""]


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "results")
    lines = []
    for name in TITLES:
        if (folder / name).is_file():
            lines += peers(folder / name)
    for path in sorted(folder.glob("bench-*.json")):
        lines += bench(path)
    readme = folder / "README.md"
    before, rest = readme.read_text().split("<!-- tables -->\n")
    after = rest.split("<!-- end of tables -->\n")[1]
    readme.write_text(before + "<!-- tables -->\n" + "\n".join(lines) + "<!-- end of tables -->\n" + after)


if __name__ == "__main__":
    main()
