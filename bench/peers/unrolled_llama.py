#!/usr/bin/env python3
"""plumb against llama.cpp at equal unrolled depth: a looped model of 4 + 32 x 4 + 4 blocks and the
same blocks written out as a Llama of 136 layers (unroll_gguf.py), through llama-cpp-python.

Same weights, same tokens; logits and greedy tokens are compared before anything is timed.
"""
import argparse
import ctypes
import os
import pathlib
import statistics
import tempfile
import time

import llama_cpp
import numpy as np

from common import ROOT, Plumb, Report, compare, ids, in_turns, require, wall_ms


class LlamaCpp:
    """The C interface: the wrapper's own class wants a vocabulary."""

    def __init__(self, path, threads, dtype, context=2048):
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp could not load it")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context, 512, 512
        params.n_threads = params.n_threads_batch = threads
        # Keys and values as plumb holds them.
        params.type_k = params.type_v = {"f32": 0, "bf16": 30}[dtype]  # GGML_TYPE_F32, GGML_TYPE_BF16
        # With its flash attention the answers differ by 2e-3 of their spread, past what is allowed here.
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def feed(self, tokens, first, all_logits):
        """One batch; returns logits of every row or of the last."""
        batch, n = self.batch, len(tokens)
        batch.n_tokens = n
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, first + i, 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = all_logits or i + 1 == n
        if llama_cpp.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")
        rows = n if all_logits else 1
        pointer = llama_cpp.llama_get_logits(self.context)
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (rows, self.vocab))

    def forward(self, tokens, all_logits=True):
        self.clear()
        return self.feed(tokens, 0, all_logits)

    def decode(self, prompt, n):
        """Greedy tokens and the seconds of each call after the prompt."""
        tokens, seconds = list(prompt), []
        row = self.forward(prompt, all_logits=False)
        for i in range(n):
            tokens.append(int(row[0].argmax()))
            if i + 1 == n:
                break
            began = time.perf_counter()
            row = self.feed(tokens[-1:], len(tokens) - 1, False)
            seconds.append(time.perf_counter() - began)
        return tokens, seconds


def run(args, dtype, report):
    peer = LlamaCpp(f"{args.gguf}_{dtype}.gguf", args.threads, dtype)
    with tempfile.TemporaryDirectory() as scratch:
        plumb = Plumb(args.plumb, args.model, scratch, args.threads, ["--state", "prelude"])
        prompt = ids(64, peer.vocab, seed=1)
        apart = compare(plumb.logits(prompt, [32], dtype)[0][32], peer.forward(prompt))
        report.agrees(f"logits of 64 tokens, {dtype}", apart)
        require(apart["relative_to_std"] < (1e-3 if dtype == "f32" else 0.5), f"logits are {apart}")
        theirs = peer.decode(prompt, 8)[0]
        mine = plumb.generate(prompt, 8, dtype, "--num-steps", 32)["tokens"]
        report.agrees(f"greedy tokens, {dtype}", f"{sum(a == b for a, b in zip(theirs[64:], mine[64:]))} of 8")
        if dtype == "f32":
            require(theirs == mine, f"greedy tokens {theirs[64:]} and {mine[64:]}")
        n = args.decode_tokens
        times = in_turns(lambda: statistics.mean(peer.decode(prompt, n)[1]) * 1e3,
                         lambda: plumb.decode_ms(prompt, n, dtype, "--num-steps", 32), args.runs)
        report.row("decoded token, 136 layers, context 64", dtype, times, 3, args.runs)
        text = ids(512, peer.vocab)
        times = in_turns(lambda: wall_ms(lambda: peer.forward(text, False)),
                         lambda: plumb.prefill_ms(text, dtype, "--num-steps", 32), args.runs)
        report.row("prefill, 512 tokens, logits of the last", dtype, times, 1.2, args.runs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the llama folder of make_models.py")
    parser.add_argument("--gguf", required=True, help="of unroll_gguf.py, without _f32.gguf and _bf16.gguf")
    parser.add_argument("--plumb", default=ROOT / "build/release/plumb")
    parser.add_argument("--dtype", default="f32,bf16")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--decode-tokens", type=int, default=17)
    parser.add_argument("--out", required=True, help="results, JSON")
    arguments = parser.parse_args()
    results = Report("llama.cpp, blocks written out as 136 layers", pathlib.Path(arguments.model).name,
                     {"llama-cpp-python": llama_cpp.__version__, "plumb": Plumb(arguments.plumb, "", ".", 1).version()}, arguments.threads)
    for name in arguments.dtype.split(","):
        run(arguments, name, results)
    results.write(arguments.out)
