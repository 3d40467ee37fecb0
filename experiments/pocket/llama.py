"""pocket-llama (plain, Hugging Face names, tied head) and pocket-april (the same retrofitted: prelude, looped core, coda).

`LlamaBlock` serves both. The retrofit keeps Llama's block and puts an adapter before the core: its input is the state and the prelude
output. `plumb convert` makes the retrofit's first weights ([0 | I] in the adapter: the state is ignored at first, so that every depth
gives the plain model's answer); training then teaches it to use the state, with the recurrence growing from 1 to `mean_steps`.
"""
import math
from dataclasses import dataclass

import torch
from torch import nn

from common import (RmsNorm, attend, init_std, linear, rope_table, rotate_halves, swiglu, token_losses,
                    truncated_normal_)


@dataclass
class Config:
    vocab: int = 4096
    dim: int = 256
    heads: int = 4
    kv_heads: int = 4
    ff: int = 640
    layers: int = 4
    positions: int = 1024
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5


class LlamaBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        std, out_std, head = init_std(c.dim), init_std(c.dim) / math.sqrt(2 * c.layers), c.dim // c.heads
        self.heads, self.kv_heads = c.heads, c.kv_heads
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(c.dim, c.norm_eps), RmsNorm(c.dim, c.norm_eps)
        self.self_attn, self.mlp = nn.Module(), nn.Module()
        self.self_attn.q_proj = linear(c.dim, c.dim, std)
        self.self_attn.k_proj = linear(c.dim, c.kv_heads * head, std)
        self.self_attn.v_proj = linear(c.dim, c.kv_heads * head, std)
        self.self_attn.o_proj = linear(c.dim, c.dim, out_std)
        self.mlp.gate_proj, self.mlp.up_proj = linear(c.dim, c.ff, std), linear(c.dim, c.ff, std)
        self.mlp.down_proj = linear(c.ff, c.dim, out_std)

    def forward(self, x, cos, sin):
        a, h = self.self_attn, self.input_layernorm(x)
        q = rotate_halves(a.q_proj(h).unflatten(-1, (self.heads, -1)), cos, sin)
        k = rotate_halves(a.k_proj(h).unflatten(-1, (self.kv_heads, -1)), cos, sin)
        v = a.v_proj(h).unflatten(-1, (self.kv_heads, -1))
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, 2) for t in (k, v))
        x = x + a.o_proj(attend(q, k, v))
        h = self.post_attention_layernorm(x)
        return x + self.mlp.down_proj(swiglu(self.mlp.gate_proj(h), self.mlp.up_proj(h)))


class Model(nn.Module):
    Config = Config

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.eval_depths = (c.layers,)
        m = self.model = nn.Module()
        m.embed_tokens = nn.Embedding(c.vocab, c.dim)
        truncated_normal_(m.embed_tokens.weight.data, init_std(c.dim))
        m.layers = nn.ModuleList(LlamaBlock(c) for _ in range(c.layers))
        m.norm = RmsNorm(c.dim, c.norm_eps)
        self.cos, self.sin = rope_table(c.positions, c.dim // c.heads, c.rope_theta)

    def losses(self, ids, targets):
        x = self.model.embed_tokens(ids)
        if torch.is_autocast_enabled("cpu"):
            x = x.bfloat16()
        for block in self.model.layers:
            x = block(x, self.cos[:ids.shape[1]], self.sin[:ids.shape[1]])
        return token_losses(self.model.norm(x), self.model.embed_tokens.weight, targets)

    def training_losses(self, ids, targets, generator, progress):
        return self.losses(ids, targets), 0.0, {}

    @torch.no_grad()
    def depth_losses(self, ids, targets, depths=None):
        return {self.config.layers: self.losses(ids, targets)}

    def compile(self):
        self.losses = torch.compile(self.losses)
