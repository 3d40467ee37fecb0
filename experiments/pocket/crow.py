"""pocket-crow: Crowfeather's architecture: sliding and global layers in turn, soft-capped logits, tied head."""
import math
from dataclasses import dataclass

import torch
from torch import nn

from common import RmsNorm, attend, init_std, linear, rope_table, rotate_pairs, swiglu, token_losses, truncated_normal_


@dataclass
class Config:
    vocab: int = 4096
    dim: int = 256
    heads: int = 4
    ff: int = 640
    layers: int = 4
    positions: int = 1024
    window: int = 64         # keys a sliding layer sees, its own included
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    softcap: float = 30.0


def layer_types(n_layers):
    """Sliding when even and not last, else global."""
    return ["sliding" if i % 2 == 0 and i + 1 < n_layers else "global" for i in range(n_layers)]


class Block(nn.Module):
    def __init__(self, c, kind):
        super().__init__()
        self.heads, self.window = c.heads, c.window if kind == "sliding" else None
        std, out_std = init_std(c.dim), init_std(c.dim) / math.sqrt(2 * c.layers)
        self.norm1, self.norm2 = RmsNorm(c.dim, c.norm_eps), RmsNorm(c.dim, c.norm_eps)
        self.attn, self.mlp = nn.Module(), nn.Module()
        for name, s in (("wq", std), ("wk", std), ("wv", std), ("wo", out_std)):
            setattr(self.attn, name, linear(c.dim, c.dim, s))
        self.mlp.gate, self.mlp.up = linear(c.dim, c.ff, std), linear(c.dim, c.ff, std)
        self.mlp.down = linear(c.ff, c.dim, out_std)

    def forward(self, x, cos, sin):
        h = self.norm1(x)
        q, k, v = (w(h).unflatten(-1, (self.heads, -1)) for w in (self.attn.wq, self.attn.wk, self.attn.wv))
        mask = None
        if self.window:
            t = torch.arange(x.shape[1])
            distance = t[:, None] - t
            mask = (distance >= 0) & (distance < self.window)
        x = x + self.attn.wo(attend(rotate_pairs(q, cos, sin), rotate_pairs(k, cos, sin), v, mask))
        h = self.norm2(x)
        return x + self.mlp.down(swiglu(self.mlp.gate(h), self.mlp.up(h)))


class Model(nn.Module):
    Config = Config

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.eval_depths = tuple(range(1, c.layers + 1))
        self.tok_emb = nn.Embedding(c.vocab, c.dim)
        truncated_normal_(self.tok_emb.weight.data, init_std(c.dim))
        self.layers = nn.ModuleList(Block(c, kind) for kind in layer_types(c.layers))
        self.norm_f = RmsNorm(c.dim, c.norm_eps)
        self.cos, self.sin = rope_table(c.positions, c.dim // c.heads, c.rope_theta)

    def hidden(self, ids, depth):
        x = self.tok_emb(ids)
        if torch.is_autocast_enabled("cpu"):
            x = x.bfloat16()
        for block in self.layers[:depth]:
            x = block(x, self.cos[:ids.shape[1]], self.sin[:ids.shape[1]])
        return self.norm_f(x)

    def losses(self, ids, targets, depth):
        return token_losses(self.hidden(ids, depth), self.tok_emb.weight, targets, self.config.softcap)

    def training_losses(self, ids, targets, generator, progress):
        return self.losses(ids, targets, self.config.layers), 0.0, {}

    @torch.no_grad()
    def depth_losses(self, ids, targets, depths=None):
        return {d: self.losses(ids, targets, d) for d in depths or self.eval_depths}

    def compile(self):
        self.losses = torch.compile(self.losses)
