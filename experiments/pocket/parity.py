"""Do PyTorch and plumb give the same loss per token on the shipped file?

    python parity.py ../models/NAME [--plumb ../../build/release/plumb] [--tokens 2000] [--golden OUT.safetensors]

Reads the published files back into the training module, scores the first held-out tokens of three texts in float32, lets `plumb forward`
score the same ids, and prints the largest difference. --golden keeps the first 128 of each text, as float64 PyTorch gives them.
Looped models start from zero states here: a random state is each implementation's own.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

import act
import april
import byrne
import crow
import llama
import raven

TEXTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "texts")
WINDOW = 128


def fields(config, names):
    return {ours: config[theirs] for ours, theirs in names.items()}


def open_raven(folder, config):
    c = raven.Config(**fields(config, {
        "vocab": "vocab_size", "dim": "n_embd", "heads": "n_heads", "ff": "intermediate_size", "prelude": "n_layers_in_prelude",
        "core": "n_layers_in_recurrent_block", "coda": "n_layers_in_coda", "block_size": "block_size", "rope_base": "rope_base"}))
    return raven.Model(c), load_file(f"{folder}/model.safetensors"), (1, 2, 4, 8)


def open_llama(folder, config):
    c = llama.Config(**fields(config, {
        "vocab": "vocab_size", "dim": "hidden_size", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads",
        "ff": "intermediate_size", "layers": "num_hidden_layers", "rope_theta": "rope_theta", "norm_eps": "rms_norm_eps"}))
    return llama.Model(c), load_file(f"{folder}/model.safetensors"), (c.layers,)


def open_april(folder, config):
    c = april.Config(**fields(config, {
        "vocab": "vocab_size", "dim": "n_embd", "heads": "n_heads", "kv_heads": "num_key_value_heads", "ff": "intermediate_size",
        "prelude": "n_layers_in_prelude", "core": "n_layers_in_recurrent_block", "coda": "n_layers_in_coda",
        "rope_theta": "rope_theta", "norm_eps": "norm_eps"}))
    return april.Model(c), april.from_published(load_file(f"{folder}/model.safetensors"), c), (1, 2, 4, 8)


def open_act(folder, config):
    c = act.Config(**fields(config, {
        "vocab": "vocab_size", "dim": "dim", "heads": "n_heads", "ff": "ffn_hidden", "max_steps": "max_steps",
        "segment": "segment_len", "mem_len": "mem_len", "rope_theta": "rope_theta", "norm_eps": "norm_eps", "epsilon": "epsilon"}))
    return act.Model(c), load_file(f"{folder}/base.safetensors"), (0, 2, c.max_steps)


def open_byrne(folder, config):
    c = byrne.Config(**fields(config, {
        "vocab": "vocab_size", "dim": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
        "nope_dim": "nope_head_dim", "rope_dim": "qk_rope_head_dim", "q_rank": "q_lora_rank", "o_rank": "o_lora_rank",
        "ff": "moe_intermediate_size", "rope_theta": "rope_theta", "norm_eps": "rms_norm_eps",
        "engram_dim": "engram_compress_dim", "engram_heads": "engram_num_heads", "engram_rows": "engram_table_size",
        "engram_ngram": "engram_max_ngram", "streams": "hc_mult", "sinkhorn": "hc_sinkhorn_iters", "hc_eps": "hc_eps",
        "hrm_dim": "hrm_refine_dim", "hrm_steps": "hrm_refine_steps"}))
    return byrne.Model(c), load_file(f"{folder}/model.safetensors"), (0, 1, c.hrm_steps)


def open_crow(folder, _):
    saved = torch.load(glob.glob(f"{folder}/step_*.pt")[0])
    c = crow.Config(**fields(saved["cfg"], {
        "vocab": "vocab_size", "dim": "dim", "heads": "n_heads", "ff": "mlp_hidden", "layers": "n_layers",
        "positions": "max_seq_len", "window": "sliding_window", "rope_theta": "rope_theta", "norm_eps": "rms_eps",
        "softcap": "logit_softcap"}))
    weights = {n.replace("blocks.", "layers.").replace("final_norm.", "norm_f."): t for n, t in saved["model"].items()
               if n != "lm_head.weight"}
    return crow.Model(c), weights, (2, c.layers)


def open_model(folder):
    """Module with the shipped weights, the depths to compare, and the path that plumb takes."""
    path = f"{folder}/config.json"
    config = json.load(open(path)) if os.path.exists(path) else {}
    kind = {"llama": open_llama, "act_recurrent": open_act, "spike_whale": open_byrne}.get(config.get("model_type"))
    if config.get("model_type") == "huginn_raven":
        kind = open_raven if config["qk_bias"] else open_april
    model, weights, depths = (kind or open_crow)(folder, config)
    missing, unexpected = model.load_state_dict({n: t.float() for n, t in weights.items()}, strict=False)
    if set(missing) - {"price"} or unexpected:
        sys.exit(f"{folder}: missing {missing}, unexpected {unexpected}")
    return model.eval(), depths


def torch_losses(model, ids, depths, dtype):
    """{depth: [n, WINDOW]}."""
    model = model.to(dtype)
    model.cos, model.sin = model.cos.to(dtype), model.sin.to(dtype)
    arguments = {}
    if hasattr(model, "initial_state"):
        arguments["state"] = torch.zeros(len(ids), ids.shape[1] - 1, model.config.dim, dtype=dtype)
    return model.depth_losses(ids[:, :-1], ids[:, 1:], depths, **arguments)


def plumb_logits(plumb, folder, ids, depths, looped, halts):
    """{depth: [n, WINDOW, V]}; depth 0 of a model that halts by itself is its own halting: no depth is asked then."""
    rows, out = ";".join(",".join(map(str, r.tolist())) for r in ids[:, :-1]), {}
    with tempfile.TemporaryDirectory() as temporary:
        for depth in depths:
            command = [plumb, "forward", folder, "--ids", rows, "--emit", "logits", "--out", f"{temporary}/x.safetensors"]
            command += [] if halts and depth == 0 else ["--num-steps", str(depth)]
            command += ["--state", "zero"] if looped else []
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            out[depth] = next(iter(load_file(f"{temporary}/x.safetensors").values()))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--plumb", default=os.path.join(TEXTS, "../../build/release/plumb"))
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--golden")
    args = parser.parse_args()
    folder = args.model.rstrip("/")
    model, depths = open_model(folder)
    looped, halts = hasattr(model, "initial_state"), isinstance(model, act.Model)
    golden, worst, total = {}, 0.0, 0
    for text in ("prose", "code", "tasks"):
        path = f"{TEXTS}/{text}.txt"
        told = json.loads(subprocess.run([args.plumb, "tokenize", folder, "--file", path, "--json"], check=True,
                                         capture_output=True).stdout)
        per_text = (args.tokens // 3 // WINDOW + 1) * WINDOW
        ids = torch.tensor(told["ids"][:per_text + 1])
        rows = torch.stack([ids[i:i + WINDOW + 1] for i in range(0, per_text, WINDOW)])
        theirs = plumb_logits(args.plumb, folder, rows, depths, looped, halts)
        ours = torch_losses(model, rows, depths, torch.float32)
        exact = torch_losses(model, rows, depths, torch.float64)
        for depth in depths:
            loss = torch.nn.functional.cross_entropy(theirs[depth].double().flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
            apart = (loss - ours[depth].flatten().double()).abs().max().item()
            from_exact = (loss - exact[depth].flatten()).abs().max().item()
            print(f"{text} depth {depth}: {loss.numel()} tokens, {loss.mean():.4f} nats, largest difference per token "
                  f"{apart:.1e} (f32), {from_exact:.1e} (f64)")
            worst, total = max(worst, apart), total + loss.numel()
            golden[f"{text}.ids"] = rows[0].int()
            golden[f"{text}.nll.{depth}"] = exact[depth][0].float().clone()
    if args.golden:
        save_file(golden, args.golden)
    print(f"{folder}: largest difference {worst:.1e} nats over {total} losses")
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
