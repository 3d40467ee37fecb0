#!/usr/bin/env python3
"""Writes the Llama-variant model of make_models.py as one deep Llama in GGUF: prelude, the core's
blocks 32 times over, coda. With the adapter [identity on the state | 0] and s_0 = e the looped model
computes the same function.

usage: unroll_gguf.py MODEL_DIR OUT.gguf [f32|bf16]
"""
import json
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file


def rows_for_llama_cpp(weight, n_heads):
    """llama.cpp rotates neighbouring pairs, the retrofit halves: the same rotation after reordering
    the rows of q and k."""
    n_out, n_in = weight.shape
    return weight.reshape(n_heads, 2, n_out // n_heads // 2, n_in).swapaxes(1, 2).reshape(n_out, n_in)


def main(model, out, dtype):
    config = json.loads((pathlib.Path(model) / "config.json").read_text())
    tensors = load_file(pathlib.Path(model) / "model.safetensors")
    e, heads, kv_heads, ff = (config[k] for k in ("n_embd", "n_heads", "num_key_value_heads", "intermediate_size"))
    adapter = tensors["transformer.adapter.weight"]
    if not np.array_equal(adapter, np.concatenate([np.eye(e), np.zeros((e, e))], axis=1)):
        sys.exit(f"{model}: the adapter is not [identity | 0], so no plain Llama computes the same")
    stages = [("prelude", config["n_layers_in_prelude"], 1), ("core_block", config["n_layers_in_recurrent_block"], config["mean_recurrence"]),
              ("coda", config["n_layers_in_coda"], 1)]
    blocks = [f"transformer.{stage}.{j}" for stage, n, times in stages for _ in range(times) for j in range(n)]

    writer = gguf.GGUFWriter(out, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(e)
    writer.add_block_count(len(blocks))
    writer.add_feed_forward_length(ff)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_rope_dimension_count(e // heads)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if dtype == "bf16" else gguf.LlamaFileType.ALL_F32)

    kind = gguf.GGMLQuantizationType.BF16 if dtype == "bf16" else gguf.GGMLQuantizationType.F32
    packed = {}  # the core's blocks appear 32 times; they are converted once

    def matrix(name, weight, key):
        if key not in packed:
            packed[key] = gguf.quants.quantize(np.ascontiguousarray(weight), kind)
        writer.add_tensor(name, packed[key], raw_dtype=kind)

    def vector(name, weight):
        writer.add_tensor(name, weight.astype(np.float32))

    matrix("token_embd.weight", tensors["transformer.wte.weight"], "wte")
    for i, block in enumerate(blocks):
        q, k, v = np.split(tensors[f"{block}.attn.Wqkv.weight"], [e, e + kv_heads * (e // heads)])
        gate, up = np.split(tensors[f"{block}.mlp.fc.weight"], 2)
        vector(f"blk.{i}.attn_norm.weight", tensors[f"{block}.norm_1.weight"])
        vector(f"blk.{i}.ffn_norm.weight", tensors[f"{block}.norm_2.weight"])
        matrix(f"blk.{i}.attn_q.weight", rows_for_llama_cpp(q, heads), block + "q")
        matrix(f"blk.{i}.attn_k.weight", rows_for_llama_cpp(k, kv_heads), block + "k")
        matrix(f"blk.{i}.attn_v.weight", v, block + "v")
        matrix(f"blk.{i}.attn_output.weight", tensors[f"{block}.attn.proj.weight"], block + "o")
        matrix(f"blk.{i}.ffn_gate.weight", gate, block + "gate")
        matrix(f"blk.{i}.ffn_up.weight", up, block + "up")
        matrix(f"blk.{i}.ffn_down.weight", tensors[f"{block}.mlp.proj.weight"], block + "down")
    vector("output_norm.weight", tensors["transformer.ln_f.weight"])
    matrix("output.weight", tensors["lm_head.weight"], "head")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out}: {len(blocks)} layers, {dtype}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or (len(sys.argv) == 4 and sys.argv[3] not in ("f32", "bf16")):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else "f32")
