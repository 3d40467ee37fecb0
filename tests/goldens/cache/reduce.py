"""Writes cache_map.json from the full symbolic record of the reference's cache reads, losslessly.

    python3 reduce.py FULL.json cache_map.json

A read is the list of entries that one call got back, each named (step_index + 100) * 1000 + position.
Here a read is a flat list of runs [step_index, first position, count, ...] of consecutive positions
with the same step index, or the text of the reference's error. The order of reads in a scenario
follows from its depths, so their labels are dropped after they were checked.
"""
import json
import sys


def runs_of(ids):
    runs = []
    for entry in ids:
        step, pos = entry // 1000 - 100, entry % 1000
        if runs and runs[-1][0] == step and runs[-1][1] + runs[-1][2] == pos:
            runs[-1][2] += 1
        else:
            runs.append([step, pos, 1])
    return [number for run in runs for number in run]


def ids_of(runs):
    return [(runs[i] + 100) * 1000 + runs[i + 1] + k for i in range(0, len(runs), 3) for k in range(runs[i + 2])]


def labels(scenario):
    p, k, d = scenario["P"], scenario["K"], scenario["D"]
    for chunk, depth in enumerate(scenario["depths"]):
        for step in list(range(p + depth * k)) + [-(j + 1) for j in range(d)]:
            yield chunk, step


def reduce(scenario):
    reads = []
    for (chunk, step), (got_chunk, got_step, ids) in zip(labels(scenario), scenario["reads"]):
        assert (chunk, step) == (got_chunk, got_step)
        if isinstance(ids, str):
            reads.append(ids)
            continue
        reads.append(runs_of(ids))
        assert ids_of(reads[-1]) == ids
    keys = ("strategy", "P", "K", "D", "derived", "prefill", "depths")
    return {**{key: scenario[key] for key in keys}, "reads": reads}


full = json.load(open(sys.argv[1]))
lines = [json.dumps(reduce(s), separators=(",", ":")) for s in full["scenarios"]]
open(sys.argv[2], "w").write('{"scenarios":[\n' + ",\n".join(lines) + "\n]}\n")
