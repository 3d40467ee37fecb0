#!/usr/bin/env python3
"""Random checkpoints for the comparisons, of April-70M's size (width 512, 8 heads of 64, feed-forward
1408, 32003 tokens, 4 / 4 / 4 blocks).

  huginn   Huginn's block (four norms, q and k biases, tied head, as many key as query heads): what
           the public Raven reference runs.
  llama    the Llama retrofit's block (4 key heads, untied head) with the adapter [identity on the
           state | 0]. From s_0 = e it computes what the blocks written out as one deep Llama do.

usage: make_models.py OUT_DIR        writes OUT_DIR/huginn and OUT_DIR/llama, f32
"""
import json
import math
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

E, H, F, V, STAGES, RECURRENCES = 512, 8, 1408, 32003, {"prelude": 4, "core_block": 4, "coda": 4}, 32


def block(tensors, rng, name, kv_heads, huginn, depth):
    """Matrices at the scale public code draws them; norms around one, so that a wrong one shows."""
    d = E // H
    std, out_std = math.sqrt(2 / (5 * E)), math.sqrt(2 / (5 * E)) / math.sqrt(2 * depth)

    def normal(shape, scale):
        return (rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)).astype(np.float32)

    for j in range(1, 5 if huginn else 3):
        tensors[f"{name}.norm_{j}.weight"] = (1 + 0.1 * rng.standard_normal(E, dtype=np.float32)).astype(np.float32)
    tensors[f"{name}.attn.Wqkv.weight"] = normal(((H + 2 * kv_heads) * d, E), std)
    if huginn:
        tensors[f"{name}.attn.qk_bias"] = normal((2, 1, H, d), 0.1)
    tensors[f"{name}.attn.proj.weight"] = normal((E, E), out_std)
    tensors[f"{name}.mlp.fc.weight"] = normal((2 * F, E), std)
    tensors[f"{name}.mlp.proj.weight"] = normal((E, F), out_std)


def make(huginn, seed):
    rng, tensors = np.random.default_rng(seed), {}
    kv_heads = H if huginn else H // 2
    depth = STAGES["prelude"] + STAGES["coda"] + STAGES["core_block"] * RECURRENCES
    std = math.sqrt(2 / (5 * E))
    for stage, n in STAGES.items():
        for j in range(n):
            block(tensors, rng, f"transformer.{stage}.{j}", kv_heads, huginn, depth)
    tensors["transformer.wte.weight"] = (rng.standard_normal((V, E), dtype=np.float32) * np.float32(std)).astype(np.float32)
    if huginn:
        tensors["transformer.adapter.weight"] = (rng.standard_normal((E, 2 * E), dtype=np.float32) * np.float32(std)).astype(np.float32)
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].copy()
    else:
        tensors["transformer.adapter.weight"] = np.concatenate([np.eye(E, dtype=np.float32), np.zeros((E, E), np.float32)], axis=1)
        tensors["lm_head.weight"] = (rng.standard_normal((V, E), dtype=np.float32) * np.float32(std)).astype(np.float32)
    tensors["transformer.ln_f.weight"] = np.ones(E, np.float32)
    config = {"architectures": ["RavenForCausalLM"], "model_type": "huginn_raven", "n_embd": E, "n_heads": H, "num_key_value_heads": kv_heads,
              "intermediate_size": F, "vocab_size": V, "n_layers": sum(STAGES.values()), "n_layers_in_prelude": STAGES["prelude"],
              "n_layers_in_recurrent_block": STAGES["core_block"], "n_layers_in_coda": STAGES["coda"], "mean_recurrence": RECURRENCES,
              "norm_eps": 1e-6 if huginn else 1e-5, "bias": False, "qk_bias": huginn, "tie_embeddings": huginn, "block_size": 4096,
              "rope_base": 50000, "init_values": {"std": std, "embed_scale": math.sqrt(E) if huginn else 1.0}}
    if not huginn:
        config.update(rope_theta=500000.0, max_position_embeddings=16384)
    return config, tensors


def main(out):
    for name, huginn, seed in (("huginn", True, 1), ("llama", False, 2)):
        directory = pathlib.Path(out) / name
        directory.mkdir(parents=True, exist_ok=True)
        config, tensors = make(huginn, seed)
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        print(f"{directory}: {sum(t.size for t in tensors.values()):,} numbers")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
