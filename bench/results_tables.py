#!/usr/bin/env python3
"""Writes the tables of bench/results into its README files, between the lines <!-- tables --> and
<!-- end of tables -->: those of every host's folder, and the hosts side by side above them. They are
what bench/peers, `plumb bench --json` and libraries_bench left there, nothing typed by hand.

usage: results_tables.py [bench/results]
"""
import json
import pathlib
import sys

APRIL, POCKET, LLAMA = "peers-reference-april.json", "peers-reference-pocket.json", "peers-llama-cpp.json"
TITLES = {APRIL: "Public Raven reference, April-70M size (Huginn block)", POCKET: "Public Raven reference, pocket-raven",
          LLAMA: "llama.cpp at 136 layers"}
# Figures of `plumb bench` that something was wanted of, or that explain one.
FIGURES = {"forward_bf16": ">= 0.75", "forward_bf16_of_amx": "", "forward_f32": ">= 0.80", "decode_core_bf16": ">= 0.70",
           "decode_core_of_set_bf16": "", "decode_core_f32": "", "decode_core_of_set_f32": "", "decode_core_int8": "",
           "readout_bf16": "", "kv_read_bf16": "", "generate_ms_per_token_bf16": "", "generate_ms_per_token_f32": "",
           "generate_ms_per_token_int8": "", "sweep_overhead": "<= 1.35 x", "store_share": "<= 0.05", "adaptive_batch16": ">= 3 x",
           "adaptive_run_ahead": ""}
BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->\n"


def read(path):
    return json.loads(path.read_text()) if path.is_file() else None


def number(value):
    return "" if value is None else f"{value:.4g}"


def peers(path):
    data = read(path)
    versions = ", ".join(f"{name} {text.removeprefix('plumb ')}" for name, text in data["versions"].items())
    lines = [f"### {TITLES[path.name]}", "", f"{data['cpu']}, {data['threads']} threads; {versions}; {data['utc']}; [{path.name}]({path.name})", "",
             "| what | precision | peer ms | plumb ms | times faster | wanted | runs |", "|---|---|---|---|---|---|---|"]
    for row in data["rows"]:
        lines.append(f"| {row['what']} | {row['dtype']} | {row['peer_ms']:.1f} | {row['plumb_ms']:.1f} | **{row['times_faster']:.2f}** | {row['target']} | {row.get('runs') or ''} |")
    return lines + [""]


def bench(path):
    data = read(path)
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
        lines.append(f"| {name} | {number(row['value'])} {row['unit']} | {beside} | {number(row.get('ratio'))} | {wanted} | {row.get('runs') or ''} |")
    return lines + [""]


def libraries(path):
    """Medians of libraries_bench, a row a shape."""
    data, shapes = read(path), {}
    for row in data["benchmarks"]:
        if row.get("aggregate_name") == "median":
            who, dtype, rows, n_in, n_out = row["run_name"].split("/")[:5]
            shape = tuple(part.split(":")[1] for part in (rows, n_in, n_out))
            shapes.setdefault((dtype, *shape), {})[who.removeprefix("BM_")] = row.get("GFLOP/s")
    lines = ["### Products beside oneDNN and Eigen, one thread", "", f"GFLOP/s, medians of runs in random order; {data['context']['date']}; [{path.name}]({path.name})", "",
             "| precision | rows | in x out | plumb | oneDNN | Eigen |", "|---|---|---|---|---|---|"]
    for (dtype, rows, n_in, n_out), who in sorted(shapes.items(), key=lambda item: (item[0][0], int(item[0][1]), int(item[0][2]))):
        lines.append(f"| {dtype} | {rows} | {n_in} x {n_out} | " + " | ".join(number(who.get(name)) for name in ("Plumb", "OneDnn", "Eigen")) + " |")
    return lines + [""]


def overview(hosts):
    """What was wanted, a column a host."""
    lines = ["| what | wanted | " + " | ".join(f"[{host.name}]({host.name}/README.md)" for host in hosts) + " |", "|---|---|" + "---|" * len(hosts)]
    for name, wanted in FIGURES.items():
        if not wanted:
            continue
        cells = []
        for host in hosts:
            rows = {row["name"]: row for row in (read(host / "bench-april-70m.json") or {"rows": []})["rows"]}
            row = rows.get(name, {})
            cells.append(number(row.get("ratio") or row.get("value")))
        lines.append(f"| `{name}` | {wanted} | " + " | ".join(cells) + " |")
    wants = {}
    for host in hosts:
        for name in (APRIL, LLAMA):
            for row in (read(host / name) or {"rows": []})["rows"]:
                wants.setdefault((name, row["what"], row["dtype"]), row["target"])
    for (name, what, dtype), wanted in wants.items():
        cells = []
        for host in hosts:
            cell = []
            for file in (name, POCKET) if name == APRIL else (name,):
                found = [row for row in (read(host / file) or {"rows": []})["rows"] if (row["what"], row["dtype"]) == (what, dtype)]
                cell.append(f"{found[0]['times_faster']:.1f}" if found else "")
            cells.append(cell[0] + (f" ({cell[1]})" if len(cell) > 1 and cell[1] else ""))
        whom = "PyTorch" if name == APRIL else "llama.cpp"
        lines.append(f"| against {whom}: {what}, {dtype} | {wanted} x | " + " | ".join(cells) + " |")
    return lines + [""]


def write(readme, lines):
    before, rest = readme.read_text().split(BEGIN)
    readme.write_text(before + BEGIN + "\n".join(lines) + END + rest.split(END)[1])


def main():
    results = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "results")
    hosts = sorted(path for path in results.iterdir() if path.is_dir())
    for host in hosts:
        lines = [line for name in TITLES if (host / name).is_file() for line in peers(host / name)]
        lines += [line for path in sorted(host.glob("bench-*.json")) for line in bench(path)]
        if (host / "libraries.json").is_file():
            lines += libraries(host / "libraries.json")
        readme = host / "README.md"
        if not readme.exists():
            readme.write_text(f"# Results: {host.name}\n\n{BEGIN}{END}")
        write(readme, lines)
    write(results / "README.md", overview(hosts))


if __name__ == "__main__":
    main()
