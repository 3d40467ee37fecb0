#!/usr/bin/env python3
"""A llama2.c checkpoint (version 0, .bin) as a Llama directory in Hugging Face layout.

    llama2c_to_hf.py MODEL.bin OUT_DIR

Needs Python's standard library only. llama2.c rotates neighbouring pairs, Hugging Face the two halves
of a head: the rows of wq and wk are put into that order, which changes no score.
"""
import json
import pathlib
import struct
import sys


def halves(rows, n_heads):
    """Rows of [n_heads, head_dim / 2, 2] in the order [n_heads, 2, head_dim / 2]."""
    width = len(rows) // n_heads
    order = [head * width + 2 * i + part for head in range(n_heads) for part in (0, 1)
             for i in range(width // 2)]
    return [rows[i] for i in order]


class Reader:
    def __init__(self, blob, offset):
        self.blob, self.offset = blob, offset

    def rows(self, count, width):
        """`count` rows of `width` floats as bytes."""
        result = []
        for _ in range(count):
            result.append(self.blob[self.offset:self.offset + 4 * width])
            self.offset += 4 * width
        if self.offset > len(self.blob):
            sys.exit("the file ends before its tensors")
        return result


def read(blob):
    dim, ff, n_layers, n_heads, n_kv, vocab, seq_len = struct.unpack("<7i", blob[:28])
    tied, vocab = vocab > 0, abs(vocab)
    head_dim = dim // n_heads
    reader = Reader(blob, 28)
    tensors = {"model.embed_tokens.weight": (reader.rows(vocab, dim), [vocab, dim])}

    def each_layer(name, count, width, shape, heads=0):
        for layer in range(n_layers):
            rows = reader.rows(count, width)
            tensors[f"model.layers.{layer}.{name}.weight"] = (halves(rows, heads) if heads else rows, shape)

    each_layer("input_layernorm", 1, dim, [dim])
    each_layer("self_attn.q_proj", n_heads * head_dim, dim, [n_heads * head_dim, dim], n_heads)
    each_layer("self_attn.k_proj", n_kv * head_dim, dim, [n_kv * head_dim, dim], n_kv)
    each_layer("self_attn.v_proj", n_kv * head_dim, dim, [n_kv * head_dim, dim])
    each_layer("self_attn.o_proj", dim, n_heads * head_dim, [dim, n_heads * head_dim])
    each_layer("post_attention_layernorm", 1, dim, [dim])
    each_layer("mlp.gate_proj", ff, dim, [ff, dim])
    each_layer("mlp.down_proj", dim, ff, [dim, ff])
    each_layer("mlp.up_proj", ff, dim, [ff, dim])
    tensors["model.norm.weight"] = (reader.rows(1, dim), [dim])
    reader.rows(2 * seq_len, head_dim // 2)  # rope tables of base 10000
    if not tied:
        tensors["lm_head.weight"] = (reader.rows(vocab, dim), [vocab, dim])
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": dim,
              "intermediate_size": ff, "num_hidden_layers": n_layers, "num_attention_heads": n_heads,
              "num_key_value_heads": n_kv, "head_dim": head_dim, "vocab_size": vocab,
              "max_position_embeddings": seq_len, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "hidden_act": "silu", "tie_word_embeddings": tied, "bos_token_id": 1, "eos_token_id": 2}
    return tensors, config


def write_safetensors(path, tensors):
    header, data, at = {}, [], 0
    for name, (rows, shape) in sorted(tensors.items()):
        size = sum(map(len, rows))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
        data.extend(rows)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    tensors, config = read(pathlib.Path(sys.argv[1]).read_bytes())
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", tensors)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    print(f"{out}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
