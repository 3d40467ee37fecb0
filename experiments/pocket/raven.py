"""pocket-raven: Huginn's architecture (prelude, core looped over a random initial state, coda; sandwich norms).

Names and layout are those of the published checkpoints, so that export is a copy. What differs from the published recipe
is training alone: gradients run through every step, and the number of steps is never below `min_steps`.
"""
import math
from dataclasses import dataclass

import torch
from torch import nn

from common import (Looped, RmsNorm, attend, init_std, linear, lognormal_poisson, rope_table, rotate_pairs, swiglu,
                    token_losses, truncated_normal_)


@dataclass
class Config:
    vocab: int = 4096
    dim: int = 256
    heads: int = 4
    ff: int = 768
    prelude: int = 1
    core: int = 1
    coda: int = 1
    block_size: int = 2048
    rope_base: float = 50000.0
    mean_steps: int = 6     # mean of the log-normal Poisson
    min_steps: int = 2
    max_steps: int = 16
    adapter_pace: float = 1.0  # of the adapter's learning rate
    grad_steps: int = 99    # gradients reach back through this many steps

    @property
    def effective_depth(self):
        return self.prelude + self.core * self.mean_steps + self.coda


class Attention(nn.Module):
    def __init__(self, c, out_std):
        super().__init__()
        self.heads = c.heads
        self.Wqkv = linear(c.dim, 3 * c.dim, init_std(c.dim), muon_parts=3)
        self.qk_bias = nn.Parameter(torch.zeros(2, 1, c.heads, c.dim // c.heads))
        self.proj = linear(c.dim, c.dim, out_std)

    def forward(self, x, cos, sin):
        q, k, v = self.Wqkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = (rotate_pairs(t + b.to(t.dtype), cos, sin) for t, b in ((q, self.qk_bias[0]), (k, self.qk_bias[1])))
        return self.proj(attend(q, k, v))


class GatedMlp(nn.Module):
    def __init__(self, c, out_std):
        super().__init__()
        self.fc = linear(c.dim, 2 * c.ff, init_std(c.dim), muon_parts=2)
        self.proj = linear(c.ff, c.dim, out_std)

    def forward(self, x):
        return self.proj(swiglu(*self.fc(x).chunk(2, -1)))


class SandwichBlock(nn.Module):
    """Norm before and after each branch; the outer norms wrap the residual stream itself."""

    def __init__(self, c):
        super().__init__()
        out_std = init_std(c.dim) / math.sqrt(2 * c.effective_depth)
        self.norm_1, self.norm_2, self.norm_3, self.norm_4 = (RmsNorm(c.dim) for _ in range(4))
        self.attn, self.mlp = Attention(c, out_std), GatedMlp(c, out_std)

    def forward(self, x, cos, sin):
        x = self.norm_2(x + self.attn(self.norm_1(x), cos, sin))
        return self.norm_4(x + self.mlp(self.norm_3(x)))


class Model(Looped):
    Config = Config

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        t = self.transformer = nn.Module()
        t.wte = nn.Embedding(c.vocab, c.dim)
        truncated_normal_(t.wte.weight.data, init_std(c.dim))
        t.prelude = nn.ModuleList(SandwichBlock(c) for _ in range(c.prelude))
        t.adapter = linear(2 * c.dim, c.dim, init_std(c.dim))
        t.adapter.weight.muon_pace = c.adapter_pace
        t.core_block = nn.ModuleList(SandwichBlock(c) for _ in range(c.core))
        t.coda = nn.ModuleList(SandwichBlock(c) for _ in range(c.coda))
        t.ln_f = RmsNorm(c.dim)
        self.cos, self.sin = rope_table(c.block_size, c.dim // c.heads, c.rope_base)

    def tables(self, ids):
        return self.cos[:ids.shape[1]], self.sin[:ids.shape[1]]

    def enter(self, ids):
        """Prelude output e, injected at every step."""
        t = self.transformer
        x = t.wte(ids) * math.sqrt(self.config.dim)
        if torch.is_autocast_enabled("cpu"):
            x = x.bfloat16()
        for block in t.prelude:
            x = block(x, *self.tables(ids))
        return x

    def initial_state(self, e, generator=None):
        state = torch.empty(e.shape)
        std = init_std(self.config.dim)
        return (truncated_normal_(state, std, generator) * math.sqrt(self.config.dim)).to(e.dtype)

    def iterate(self, state, e):
        x = self.transformer.adapter(torch.cat([state, e], -1))
        for block in self.transformer.core_block:
            x = block(x, self.cos[:e.shape[1]], self.sin[:e.shape[1]])
        return x

    def leave(self, state, targets):
        """Loss per token, read out of a state."""
        t = self.transformer
        x = t.ln_f(state)
        for block in t.coda:
            x = block(x, self.cos[:state.shape[1]], self.sin[:state.shape[1]])
        return token_losses(t.ln_f(x), t.wte.weight, targets)

    def sample_steps(self, generator):
        """As published, shifted up to min_steps and cut at max_steps."""
        c = self.config
        return min(c.min_steps + lognormal_poisson(max(c.mean_steps - c.min_steps, 0.1), generator), c.max_steps)

    def training_losses(self, ids, targets, generator, progress):
        """Loss per token [B, T], an additional loss, and what to log."""
        steps = self.sample_steps(generator)
        return self.losses_after(ids, targets, steps, generator, self.config.grad_steps), 0.0, {"steps": steps}
