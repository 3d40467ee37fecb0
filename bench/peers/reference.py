#!/usr/bin/env python3
"""plumb against the public Raven reference under PyTorch and transformers, on the same weights and
tokens: a whole pass, decoding over the reference's dynamic cache, a sweep of seven depths (the
reference runs once a depth, as evaluation harnesses do), and adaptive generation.

The reference is not part of this project: clone github.com/seal-rg/recurrent-pretraining and name
its folder. Both start from the zero state (init scale 0), so their answers must agree; they are
compared before anything is timed.
"""
import argparse
import importlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import types

import torch
import transformers
from safetensors.torch import load_file

from common import ROOT, Plumb, Report, compare, ids, in_turns, require, wall_ms

SWEEP = [1, 2, 4, 8, 16, 32, 64]


def import_reference(repository):
    """The two modelling files as a package of their own: the package around them wants the training
    stack. What newer transformers dropped or renamed is put back, outside the model's arithmetic."""
    folder = pathlib.Path(repository) / "recpre"
    if not (folder / "raven_modeling_minimal.py").is_file():
        sys.exit(f"{folder}: raven_modeling_minimal.py is not there; expected a clone of github.com/seal-rg/recurrent-pretraining")
    package = types.ModuleType("raven_reference")
    package.__path__ = [str(folder)]
    sys.modules["raven_reference"] = package
    code = importlib.import_module("raven_reference.raven_modeling_minimal")
    code.CausalLMOutputRecurrentLatents = types.SimpleNamespace  # its field past_key_values was renamed in the base class
    return code, importlib.import_module("raven_reference.raven_config_minimal")


class Reference:
    def __init__(self, repository, model, dtype):
        self.code, config_code = import_reference(repository)
        written = json.loads((pathlib.Path(model) / "config.json").read_text())
        derived = ("architectures", "model_type", "num_key_value_heads", "init_values", "head_dim", "effective_expected_depth", "padded_vocab_size")
        config = config_code.RavenConfig(**{k: v for k, v in written.items() if k not in derived})
        self.model = make_model(self.code, config)
        missing, extra = self.model.load_state_dict(load_file(pathlib.Path(model) / "model.safetensors"), strict=False)
        if set(missing) - {"freqs_cis", "lm_head.weight"} or extra:
            sys.exit(f"{model}: the reference misses {missing} and does not know {extra}")
        self.model = self.model.eval().to(dtype)
        self.model.freqs_cis = self.model._precompute_freqs_cis()  # stays f32, as published
        self.config = config

    @torch.no_grad()
    def logits(self, tokens, depth):
        return self.model(torch.tensor([tokens]), num_steps=depth, init_scale=0.0).logits[0]

    @torch.no_grad()
    def decode(self, prompt, n, depth):
        """Greedy tokens over the dynamic cache, and the seconds of each forward."""
        cache, tokens, seconds = self.code.HuginnDynamicCache(), list(prompt), []
        feed, position = torch.tensor([prompt]), torch.arange(len(prompt))
        for _ in range(n):
            began = time.perf_counter()
            out = self.model(feed, num_steps=depth, init_scale=0.0, past_key_values=cache, use_cache=True, cache_position=position)
            tokens.append(int(out.logits[0, -1].argmax()))
            seconds.append(time.perf_counter() - began)
            feed, position = torch.tensor([tokens[-1:]]), position[-1:] + 1
        return tokens, seconds

    def adaptive(self, prompt, n, depth, criterion, threshold):
        """generate_with_adaptive_compute as published; steps counted by watching its criterion."""
        stamps, steps = [], []
        inner = self.code.get_adaptive_exit_evaluator(self.model, criterion, threshold)

        class Watch(self.code.PerIterationExitEvaluator):
            def init(self, latents):
                steps.append(0)
                inner.init(latents)

            def check(self, *args):
                steps[-1] += 1
                return inner.check(*args)

        class Clock:
            def put(self, _):
                stamps.append(time.perf_counter())

            def end(self):
                pass

        config = transformers.GenerationConfig(do_sample=False, max_length=len(prompt) + n, eos_token_id=None)
        out = self.model.generate_with_adaptive_compute(
            torch.tensor([prompt]), config, streamer=Clock(), exit_evaluator=Watch(), init_scale=0.0, num_steps=depth,
            cache_lookup_strategy="latest-m4", max_new_tokens=n)
        return out[0].tolist(), steps, [b - a for a, b in zip(stamps, stamps[1:])]


def make_model(code, config):
    """The published class, with the helpers of older transformers that it calls."""
    class Model(code.RavenForCausalLM):
        # The embedding shares its weight with the head (the published list form is refused now).
        _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}

        def _get_initial_cache_position(self, seq_length, device, model_kwargs):
            model_kwargs["cache_position"] = torch.arange(seq_length, device=device)
            return model_kwargs

        def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **_):
            model_kwargs["past_key_values"] = outputs.past_key_values
            model_kwargs["cache_position"] = model_kwargs["cache_position"][-1:] + 1
            return model_kwargs

        def _get_stops(self, *_):
            return torch.tensor([-1])

    return Model(config)


def agree(reference, plumb, report, vocab, f32):
    prompt = ids(64, vocab, seed=1)
    ours = plumb.logits(prompt, [1, 32], "f32" if f32 else "bf16")[0]
    for depth in (1, 32):
        apart = compare(ours[depth], reference.logits(prompt, depth).float().numpy())
        report.agrees(f"logits of 64 tokens at r={depth}, {'f32' if f32 else 'bf16'}", apart)
        # bf16 rounds at other places here and there: no more than a distance can be asked.
        require(apart["relative_to_std"] < (1e-3 if f32 else 0.5), f"logits at r={depth} are {apart}")
    if not f32:
        return
    theirs = reference.decode(prompt, 8, 32)[0]
    mine = plumb.generate(prompt, 8, "f32", "--num-steps", 32)["tokens"]
    require(theirs == mine, f"greedy tokens {theirs[64:]} and {mine[64:]}")
    report.agrees("greedy tokens at r=32", f"{len(theirs) - 64} of 8")


def once_a_depth(args, dtype_name, depth):
    """What an evaluation harness does for each depth: a process that loads the model and scores the
    text at the one depth its arguments name."""
    command = [sys.executable, __file__, "--reference", args.reference, "--model", args.model, "--dtype", dtype_name,
               "--threads", str(args.threads), "--score-depth", str(depth), "--out", ""]
    subprocess.run(command, check=True, capture_output=True)


def score(args):
    reference = Reference(args.reference, args.model, {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype])
    text = ids(512, reference.config.vocab_size)
    rows = torch.log_softmax(reference.logits(text, args.score_depth).float(), -1)[:-1]
    print(float(-rows.gather(-1, torch.tensor(text[1:])[:, None]).mean()))


def adaptive_flags(depth, criterion, threshold):
    return ("--num-steps", depth, "--criterion", criterion, "--threshold", threshold, "--cache", "latest-m4", "--cache-index", "upstream")


def time_adaptive(reference, plumb, name, vocab, args):
    depth = 32
    prompt = ids(args.context, vocab, seed=2)
    flags = adaptive_flags(depth, args.criterion, args.threshold)
    tokens, steps, seconds = reference.adaptive(prompt, args.adaptive_tokens, depth, args.criterion, args.threshold)
    answer = plumb.generate(prompt, args.adaptive_tokens, name, *flags)
    same = answer["tokens"] == tokens and answer["steps"] == steps
    REPORT.agrees(f"adaptive generation at context {args.context}, {name}", {"same_tokens": answer["tokens"] == tokens, "reference_steps": steps, "plumb_steps": answer["steps"]})
    if name == "f32":
        require(same, f"adaptive tokens {tokens[args.context:]} {steps} and {answer['tokens'][args.context:]} {answer['steps']}")
    # Each side over the steps it took: in bf16 they may differ.
    times = in_turns(lambda: statistics.mean(reference.adaptive(prompt, args.adaptive_tokens, depth, args.criterion, args.threshold)[2]) * 1e3,
                     lambda: plumb.decode_ms(prompt, args.adaptive_tokens, name, *flags), args.runs, warm_up=False)
    REPORT.row(f"adaptive token at context {args.context} ({args.criterion})", name, times, 50, args.runs)


def run(args, dtype_name):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype_name]
    reference = Reference(args.reference, args.model, dtype)
    vocab = reference.config.vocab_size
    with tempfile.TemporaryDirectory() as scratch:
        plumb = Plumb(args.plumb, args.model, scratch, args.threads, ["--init-scale", "0"])
        agree(reference, plumb, REPORT, vocab, dtype_name == "f32")
        for row in args.rows.split(","):
            ROWS[row](reference, plumb, dtype_name, vocab, args)


def time_forward(reference, plumb, dtype, vocab, args):
    text = ids(512, vocab)
    times = in_turns(lambda: wall_ms(lambda: reference.logits(text, 32)), lambda: plumb.forward_ms(text, [32], dtype), args.runs)
    REPORT.row("forward, 512 tokens, r=32", dtype, times, 2, args.runs)


def time_decode(reference, plumb, dtype, vocab, args):
    prompt, n = ids(64, vocab, seed=1), args.decode_tokens
    times = in_turns(lambda: statistics.mean(reference.decode(prompt, n, 32)[1][1:]) * 1e3,
                     lambda: plumb.decode_ms(prompt, n, dtype, "--num-steps", 32), args.runs)
    REPORT.row("decoded token, r=32, context 64", dtype, times, 8, args.runs)


def time_sweep(reference, plumb, dtype, vocab, args):
    text, few = ids(512, vocab), max(1, args.runs // 2)
    times = in_turns(lambda: wall_ms(lambda: [reference.logits(text, d) for d in SWEEP]),
                     lambda: plumb.forward_ms(text, SWEEP, dtype), few, warm_up=False)
    REPORT.row("sweep of 1,2,4,...,64, 512 tokens, passes alone", dtype, times, 15, few)


def time_harness(reference, plumb, dtype, vocab, args):
    text = ids(512, vocab)
    times = in_turns(lambda: wall_ms(lambda: [once_a_depth(args, dtype, d) for d in SWEEP]),
                     lambda: wall_ms(lambda: plumb.forward_ms(text, SWEEP, dtype)), 1, warm_up=False)
    REPORT.row("the same sweep, a process a depth, loading included", dtype, times, 15, 1)


ROWS = {"forward": time_forward, "decode": time_decode, "sweep": time_sweep, "harness": time_harness, "adaptive": time_adaptive}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", required=True, help="clone of github.com/seal-rg/recurrent-pretraining")
    parser.add_argument("--model", required=True, help="a Huginn-variant checkpoint, e.g. of make_models.py")
    parser.add_argument("--plumb", default=ROOT / "build/release/plumb")
    parser.add_argument("--dtype", default="f32,bf16")
    parser.add_argument("--rows", default=",".join(ROWS), help="which figures; a results file keeps those not asked for")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--decode-tokens", type=int, default=17)
    parser.add_argument("--context", type=int, default=1000)
    parser.add_argument("--adaptive-tokens", type=int, default=6)
    parser.add_argument("--criterion", default="kl")
    parser.add_argument("--threshold", type=float, default=1e-3)
    parser.add_argument("--score-depth", type=int, help="only score 512 tokens at this depth and print nats a token")
    parser.add_argument("--out", required=True, help="results, JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.score_depth is not None:
        score(arguments)
        sys.exit(0)
    REPORT = Report("public Raven reference", pathlib.Path(arguments.model).name,
                    {"torch": torch.__version__, "transformers": transformers.__version__, "plumb": Plumb(arguments.plumb, "", ".", 1).version()}, arguments.threads)
    for name in arguments.dtype.split(","):
        run(arguments, name)
    REPORT.write(arguments.out)
