"""pocket-april: pocket-llama with its middle looped, trained on with a recurrence curriculum (see llama.py)."""
from dataclasses import dataclass

import torch
from torch import nn

import llama
from common import Looped, RmsNorm, linear, lognormal_poisson, rope_table, token_losses, truncated_normal_

HUGINN_STD = 0.008703882797784892  # of the initial state: every public retrofit keeps Huginn's number


@dataclass
class Config(llama.Config):
    prelude: int = 1
    core: int = 2
    coda: int = 1
    mean_steps: int = 4
    max_steps: int = 12
    curriculum: float = 0.4  # share of the run in which the mean grows from 1 to mean_steps
    adapter_pace: float = 1.0  # of the adapter's learning rate


class Model(Looped):
    Config = Config

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        t = self.transformer = nn.Module()
        t.wte, self.lm_head = nn.Embedding(c.vocab, c.dim), nn.Linear(c.dim, c.vocab, bias=False)
        t.prelude = nn.ModuleList(llama.LlamaBlock(c) for _ in range(c.prelude))
        t.adapter = linear(2 * c.dim, c.dim, 0.02)
        t.adapter.weight.muon_pace = c.adapter_pace
        t.core_block = nn.ModuleList(llama.LlamaBlock(c) for _ in range(c.core))
        t.coda = nn.ModuleList(llama.LlamaBlock(c) for _ in range(c.coda))
        t.ln_f = RmsNorm(c.dim, c.norm_eps)
        self.cos, self.sin = rope_table(c.positions, c.dim // c.heads, c.rope_theta)

    def run(self, stage, x):
        for block in getattr(self.transformer, stage):
            x = block(x, self.cos[:x.shape[1]], self.sin[:x.shape[1]])
        return x

    def enter(self, ids):
        x = self.transformer.wte(ids)
        return self.run("prelude", x.bfloat16() if torch.is_autocast_enabled("cpu") else x)

    def initial_state(self, e, generator=None):
        return truncated_normal_(torch.empty(e.shape), HUGINN_STD, generator).to(e.dtype)

    def iterate(self, state, e):
        return self.run("core_block", self.transformer.adapter(torch.cat([state, e], -1)))

    def leave(self, state, targets):
        """No norm on the state before the coda: that is Huginn's, not the retrofit's."""
        return token_losses(self.transformer.ln_f(self.run("coda", state)), self.lm_head.weight, targets)

    def sample_steps(self, generator, progress):
        """One and a log-normal Poisson whose mean grows linearly from 0 to mean_steps - 1. From then on a single step is not drawn."""
        c = self.config
        steps = 1 + lognormal_poisson(max((c.mean_steps - 1) * min(progress / c.curriculum, 1.0), 1e-3), generator)
        return min(max(steps, 2 if progress > c.curriculum else 1), c.max_steps)

    def training_losses(self, ids, targets, generator, progress):
        steps = self.sample_steps(generator, progress)
        return self.losses_after(ids, targets, steps, generator), 0.0, {"steps": steps}


FUSED = {"attn.Wqkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attn.proj": ("self_attn.o_proj",),
         "mlp.fc": ("mlp.gate_proj", "mlp.up_proj"), "mlp.proj": ("mlp.down_proj",),
         "norm_1": ("input_layernorm",), "norm_2": ("post_attention_layernorm",)}


def to_published(state):
    """Our separate matrices under the retrofit's fused names."""
    out = {}
    for name, tensor in state.items():
        for fused, parts in FUSED.items():
            if any(name.endswith(f".{p}.weight") for p in parts):
                stem = name[:-len(parts[0] + ".weight")] if name.endswith(f".{parts[0]}.weight") else None
                if stem:
                    out[f"{stem}{fused}.weight"] = torch.cat([state[f"{stem}{p}.weight"] for p in parts])
                break
        else:
            out[name] = tensor
    return out


def from_published(tensors, config):
    """The inverse of to_published: what `plumb convert` wrote, as weights to start from."""
    head = config.dim // config.heads
    rows = {"attn.Wqkv": (config.dim, config.kv_heads * head, config.kv_heads * head), "mlp.fc": (config.ff, config.ff)}
    out = {}
    for name, tensor in tensors.items():
        for fused, parts in FUSED.items():
            if name.endswith(f".{fused}.weight"):
                stem = name[:-len(fused + ".weight")]
                split = tensor.float().split(rows.get(fused, (len(tensor),)))
                out |= {f"{stem}{part}.weight": piece.clone() for part, piece in zip(parts, split)}
                break
        else:
            out[name] = tensor.float()
    return out
