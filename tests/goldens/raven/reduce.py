"""Reduces the reference's generation records to what the tests read.

    reduce.py REFERENCE_FOLDER   (manifest.json and X.{greedy,prefill_adaptive}.safetensors, sampler.safetensors)

Writes generation.json and generation.safetensors beside itself. Needs numpy and safetensors.
"""
import json, os, sys
import numpy as np
from safetensors.numpy import load_file, save_file

root, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
manifest = json.load(open(f"{root}/manifest.json"))
DROP = {"f32_f64_agree", "max_abs_diff_f32_f64_logits", "min_top2_logit_gap", "min_rel_threshold_margin",
        "min_abs_threshold_margin", "method", "error", "raised_in", "prefix_equals_plain_greedy_full@8"}
VALUES = {"kl@0.02|latest-m4", "latent-diff@0.2|latest-m4", "minp-kl@0.01|full", "cosine@0.02|latest-m4",
          "entropy-diff@0.02|full", "kl@0.02|latest-m4+cc", "kl@0.02|full"}
cases, tensors = {}, {}
for case in ("huginn_a", "huginn_b"):
    source, out = manifest["cases"][case], {"prompt": manifest["cases"][case]["prompt"][0]}
    for kind in ("generation", "adaptive", "pattern", "speculative", "diffusion", "prefill_adaptive"):
        for name, record in (source.get(kind) or {}).items():
            if "randomized" in name or "bogus" in name or "batch2" in name: continue
            kept = {k: v for k, v in record.items() if k not in DROP}
            if "tokens" in kept: kept["tokens"] = kept["tokens"][0]
            if kind in ("adaptive", "prefill_adaptive") and "exit_values" in kept:
                if name in VALUES: kept["exit_values"] = [[float(f"{x:.7g}") for x in row] for row in kept["exit_values"]]
                else: del kept["exit_values"]
            out.setdefault(kind, {})[name] = kept
    cases[case] = out
    greedy = load_file(f"{root}/{case}.greedy.safetensors")
    tensors[f"{case}.tape"] = greedy["state_tape"]
    tensors[f"{case}.logits.full@8"] = greedy["greedy/full@8/logits"]
    prefill = load_file(f"{root}/{case}.prefill_adaptive.safetensors")
    tensors[f"{case}.prefill.ids"] = prefill["input_ids"][0].astype(np.float32)
    assert np.array_equal(prefill["state_tape"], greedy["state_tape"])
    # Every draw of the diffusion runs was this one vector.
    tensors[f"{case}.constant"] = np.repeat(greedy["state_tape"][:1], 96, axis=0)
tensors["prefill.logits"] = load_file(f"{root}/huginn_a.prefill_adaptive.safetensors")["prefill/kl@0.02|latest-m4/logits"][0]
for name, value in load_file(f"{root}/sampler.safetensors").items():
    tensors[f"sampler.{name}"] = value.astype(np.float32)
json.dump({"cases": cases, "sampler": manifest["sampler"]}, open(f"{here}/generation.json", "w"), separators=(",", ":"))
save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, f"{here}/generation.safetensors")
