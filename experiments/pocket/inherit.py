"""Embeddings to begin with, taken from the first pocket-raven (19.7M tokens of the same corpus), so that short runs go further.

    python inherit.py FIRST/model.safetensors --out START.pt [--byrne --bpe tokenizer.json --spike spike_tokenizer.json]
    python inherit.py FIRST/model.safetensors --out START.pt --raven --state-gain 0.8 --input-gain 0.6
    python inherit.py CONVERTED/model.safetensors --out START.pt --april       # what `plumb convert` wrote

--raven keeps the first model's blocks (`train.py --set core=1` leaves its second core block out) and makes the adapter [state_gain * I | input_gain * as it was]: the state
is carried from step to step and each step adds to it, where the first model forgot it within two. --april makes the converted adapter
[0 | I] into [state_gain * I | I]: still the plain model at one step, whose state starts near zero, but further steps see the state at once.
START.pt names the table as each architecture does; `train.py --start` takes what fits. For byrne, whose pieces are others, a piece's row
is the mean of the rows of the BPE pieces that spell it; the numbers its hash reads (byrne.py) stay as drawn.
"""
import argparse
import json

import torch
from safetensors.torch import load_file

import april
import byrne
from bpe import ByteLevelBpe

NAMES = ("transformer.wte.weight", "model.embed_tokens.weight", "tok_emb.weight")


def byrne_table(table, bpe_path, spike_path):
    torch.manual_seed(5)
    fixed = byrne.Model(byrne.Config()).model.embed_tokens.weight.detach().clone()
    bpe, new = ByteLevelBpe(bpe_path), fixed.clone()
    for key, row in json.load(open(spike_path, encoding="utf-8"))["vocab"].items():
        try:
            text = key.encode("latin-1").decode()
        except UnicodeDecodeError:  # part of a character
            continue
        ids = bpe.encode(text)
        if ids:
            new[row] = table[ids].mean(0)
    new[:, :byrne.Config.engram_dim] = fixed[:, :byrne.Config.engram_dim]
    return new


def carry_state(weights, state_gain, input_gain):
    """The adapter reads state_gain times the state, and input_gain times what it made of the prelude output."""
    adapter = weights["transformer.adapter.weight"].clone()
    dim = len(adapter)
    adapter[:, :dim] = state_gain * torch.eye(dim)
    adapter[:, dim:] *= input_gain
    return dict(weights, **{"transformer.adapter.weight": adapter})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--out", required=True)
    parser.add_argument("--april", action="store_true")
    parser.add_argument("--raven", action="store_true")
    parser.add_argument("--state-gain", type=float, help="default: 0.8 for raven, 0.5 for april")
    parser.add_argument("--input-gain", type=float, help="default: 0.6 for raven, 1 for april")
    parser.add_argument("--byrne", action="store_true")
    parser.add_argument("--bpe")
    parser.add_argument("--spike")
    args = parser.parse_args()
    weights = {n: t.float() for n, t in load_file(args.weights).items()}
    table = weights[NAMES[0]]
    if args.april:
        model = april.from_published(carry_state(weights, args.state_gain or 0.5, args.input_gain or 1.0), april.Config())
    elif args.raven:
        model = carry_state(weights, args.state_gain or 0.8, args.input_gain or 0.6)
    elif args.byrne:
        model = {NAMES[1]: byrne_table(table, args.bpe, args.spike)}
    else:
        model = {name: table.clone() for name in NAMES}
    torch.save({"model": model}, args.out)
