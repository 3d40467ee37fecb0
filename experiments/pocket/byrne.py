"""pocket-byrne: SpikeWhaleLM: engram memory, hyper-connections, low-rank queries with one shared key/value head, exclusive
self attention, and a refinement of the last state (HRM). Parameter names are those of the published checkpoints.

Where no public source shows the arithmetic (hyper-connection maps, engram gate), the same reading is used as in plumb's default.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from common import RmsNorm, init_std, linear, rope_table, rotate_halves, swiglu, token_losses, truncated_normal_


@dataclass
class Config:
    vocab: int = 4096
    dim: int = 256
    layers: int = 4
    heads: int = 4
    nope_dim: int = 48
    rope_dim: int = 16
    q_rank: int = 64
    o_rank: int = 64
    ff: int = 640
    positions: int = 1024
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    engram_dim: int = 16
    engram_heads: int = 2
    engram_rows: int = 1024
    engram_ngram: int = 3
    streams: int = 2
    sinkhorn: int = 20
    hc_eps: float = 1e-6
    hrm_dim: int = 128
    hrm_steps: int = 3

    @property
    def head_dim(self):
        return self.nope_dim + self.rope_dim


class Lookup(nn.Module):
    """Tables read at hashed n-grams of compressed embeddings. The hash projections are buffers: random unit rows."""

    def __init__(self, c):
        super().__init__()
        self.config = c
        self.tables = nn.ModuleList(nn.Embedding(c.engram_rows, c.dim) for _ in range(c.engram_heads))
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.02)
        for n in range(1, c.engram_ngram + 1):
            for k in range(n):
                signs = torch.randint(0, 2, (c.engram_heads, c.engram_dim)) * 2.0 - 1
                self.register_buffer(f"hash_proj_n{n}_p{k}", signs / math.sqrt(c.engram_dim))

    def forward(self, compressed):
        """[B, T, H]: mean of the rows that the n-grams ending at each position select."""
        c, length, total = self.config, compressed.shape[1], 0
        for n in range(1, min(c.engram_ngram, length) + 1):
            z = sum(compressed[:, k:length - n + 1 + k] @ getattr(self, f"hash_proj_n{n}_p{k}").T for k in range(n))
            index = z.abs().long() % c.engram_rows  # [B, T - n + 1, heads]
            rows = sum(table(index[..., a]) for a, table in enumerate(self.tables))
            total = total + F.pad(rows, (0, 0, n - 1, 0))
        orders = torch.arange(1, length + 1).clamp(max=c.engram_ngram)
        return total / (c.engram_heads * orders)[:, None].to(total.dtype)


class Engram(nn.Module):
    """The hash reads embeddings, which training moves, so buckets would drift. Here the first engram_dim numbers of every embedding stay
    as they were drawn, and the frozen compressor reads only those. All of it is in small binary fractions (compressor: integers times 16;
    hash rows: +-1/4), so that every hash is exact in float32 and in the bf16 file: no implementation can round into another bucket.
    """

    def __init__(self, c):
        super().__init__()
        self.compressor, self.lookup, self.gate = nn.Module(), Lookup(c), nn.Module()
        self.compressor.proj = nn.Linear(c.dim, c.engram_dim, bias=False)
        weight = torch.zeros(c.engram_dim, c.dim)
        weight[:, :c.engram_dim] = torch.randint(-127, 128, (c.engram_dim, c.engram_dim)) * 16.0
        self.compressor.proj.weight.data.copy_(weight)
        self.compressor.proj.weight.requires_grad_(False)
        self.gate.proj = linear(2 * c.dim, c.dim, init_std(c.dim), bias=True)
        self.gate.alpha = nn.Parameter(torch.ones(c.dim))
        self.gate.bias = nn.Parameter(torch.full((c.dim,), -1.0))
        self.gate.gamma = nn.Parameter(torch.ones(c.dim))

    def retrieve(self, embeddings):
        return self.lookup(embeddings.detach() @ self.compressor.proj.weight.T)

    def forward(self, u, retrieved):
        g = self.gate
        gate = (g.gamma * torch.erf(g.alpha * g.proj(torch.cat([retrieved, u], -1)) + g.bias) + g.gamma) / 2
        return (gate * retrieved).to(u.dtype)


class Attention(nn.Module):
    def __init__(self, c, out_std):
        super().__init__()
        self.c, std = c, init_std(c.dim)
        self.q_a_proj, self.q_a_norm = linear(c.dim, c.q_rank, std), RmsNorm(c.q_rank, c.norm_eps)
        self.q_b_proj = linear(c.q_rank, c.heads * c.head_dim, init_std(c.q_rank))
        self.k_proj, self.v_proj = linear(c.dim, c.head_dim, std), linear(c.dim, c.head_dim, std)
        self.o_a_proj = linear(c.heads * c.head_dim, c.o_rank, std)
        self.o_b_proj = linear(c.o_rank, c.dim, out_std * 2)
        self.q_norm, self.k_norm = RmsNorm(c.head_dim, c.norm_eps), RmsNorm(c.head_dim, c.norm_eps)

    def turn(self, x, cos, sin):
        """Rotates the last rope_dim numbers of each head."""
        return torch.cat([x[..., :self.c.nope_dim], rotate_halves(x[..., self.c.nope_dim:], cos, sin)], -1)

    def forward(self, x, cos, sin):
        c = self.c
        q = self.q_b_proj(self.q_a_norm(self.q_a_proj(x))).unflatten(-1, (c.heads, c.head_dim))
        k, v = self.k_proj(x)[:, :, None], self.v_proj(x)[:, :, None]
        q, k = self.turn(self.q_norm(q), cos, sin), self.turn(self.k_norm(k), cos, sin)
        k, v = k.expand(-1, -1, c.heads, -1), v.expand(-1, -1, c.heads, -1)
        y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=True).transpose(1, 2)
        own = v / (v.norm(dim=-1, keepdim=True) + 1e-8)  # exclusive self attention: nothing along the token's own value
        y = y - (y * own).sum(-1, keepdim=True) * own
        return self.o_b_proj(self.o_a_proj(y.flatten(2)))


class FeedForward(nn.Module):
    def __init__(self, c, out_std):
        super().__init__()
        self.gate_proj, self.up_proj = linear(c.dim, c.ff, init_std(c.dim)), linear(c.dim, c.ff, init_std(c.dim))
        self.down_proj = linear(c.ff, c.dim, out_std)

    def forward(self, x):
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))


class HyperConnection(nn.Module):
    """Reads one vector out of the streams and writes a result back to each; both weightings are Sinkhorn maps of logits."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.pre_logits = nn.Parameter(torch.linspace(-0.5, 0.5, c.streams))
        self.post_logits = nn.Parameter(torch.linspace(0.5, -0.5, c.streams))

    def weights(self, logits):
        w = logits.exp()
        for _ in range(self.c.sinkhorn):
            w = w / (w.sum() + self.c.hc_eps)
        return w

    def read(self, streams):
        return (self.weights(self.pre_logits).to(streams.dtype)[:, None, None, None] * streams).sum(0)

    def write(self, streams, out):
        return streams + self.weights(self.post_logits).to(streams.dtype)[:, None, None, None] * out


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        out_std = init_std(c.dim) / math.sqrt(2 * c.layers)
        self.attn_norm, self.ffn_norm = RmsNorm(c.dim, c.norm_eps), RmsNorm(c.dim, c.norm_eps)
        self.attn, self.ffn = Attention(c, out_std), FeedForward(c, out_std)
        self.hc_attn, self.hc_ffn = HyperConnection(c), HyperConnection(c)

    def forward(self, streams, cos, sin):
        streams = self.hc_attn.write(streams, self.attn(self.attn_norm(self.hc_attn.read(streams)), cos, sin))
        return self.hc_ffn.write(streams, self.ffn(self.ffn_norm(self.hc_ffn.read(streams))))


class HrmRefine(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = RmsNorm(c.dim, c.norm_eps)
        self.down, self.up = linear(2 * c.dim, c.hrm_dim, init_std(c.dim)), linear(c.hrm_dim, c.dim, init_std(c.dim))
        self.gate = nn.Parameter(torch.full((c.hrm_steps,), 0.5))

    def forward(self, x, steps):
        """`steps` passes; past the trained number the last gate is used again. Returns the state after each, the input first."""
        h, out = x, [x]
        for t in range(steps):
            change = self.up(F.silu(self.down(torch.cat([self.norm(h), x], -1))))
            h = h + torch.tanh(self.gate[min(t, len(self.gate) - 1)]).to(h.dtype) * change
            out.append(h)
        return out


class Model(nn.Module):
    Config = Config
    eval_depths = (0, 1, 2, 3, 4, 6)

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        m = self.model = nn.Module()
        m.embed_tokens = nn.Embedding(c.vocab, c.dim)
        table = m.embed_tokens.weight
        truncated_normal_(table.data, init_std(c.dim))
        table.data[:, :c.engram_dim] = torch.randint(-1, 2, (c.vocab, c.engram_dim)) / 16  # read by the hash, never trained
        trained = torch.ones(c.dim)
        trained[:c.engram_dim] = 0
        table.register_hook(lambda grad: grad * trained.to(grad.dtype))
        m.engram, m.norm, m.hrm_refine = Engram(c), RmsNorm(c.dim, c.norm_eps), HrmRefine(c)
        m.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        m.hc_out_mix = nn.Module()
        m.hc_out_mix.logits = nn.Parameter(torch.zeros(c.streams))
        self.cos, self.sin = rope_table(c.positions, c.rope_dim, c.rope_theta)

    def embed(self, ids):
        """Embeddings, and what the engram finds for them. The hash is in float32 (or better) whatever autocast says."""
        e = self.model.embed_tokens(ids)
        with torch.autocast("cpu", enabled=False):
            retrieved = self.model.engram.retrieve(e)
        if torch.is_autocast_enabled("cpu"):
            e, retrieved = e.bfloat16(), retrieved.bfloat16()
        return e, retrieved

    def trunk(self, e, retrieved):
        """The state before refinement."""
        m, length = self.model, e.shape[1]
        x = e + m.engram(e, retrieved)
        streams = torch.stack([x] * self.config.streams)
        for layer in m.layers:
            streams = layer(streams, self.cos[:length], self.sin[:length])
        return (m.hc_out_mix.logits.softmax(0).to(x.dtype)[:, None, None, None] * streams).sum(0)

    def read_out(self, state, targets):
        return token_losses(self.model.norm(state), self.model.embed_tokens.weight, targets)

    def training_losses(self, ids, targets, generator, progress):
        return self.losses(*self.embed(ids), targets), 0.0, {"gate": self.model.hrm_refine.gate.detach().mean()}

    def losses(self, e, retrieved, targets):
        return self.read_out(self.model.hrm_refine(self.trunk(e, retrieved), self.config.hrm_steps)[-1], targets)

    @torch.no_grad()
    def depth_losses(self, ids, targets, depths=None):
        depths = depths or self.eval_depths
        states = self.model.hrm_refine(self.trunk(*self.embed(ids)), max(depths))
        return {d: self.read_out(states[d], targets) for d in depths}

    def compile(self):
        self.losses = torch.compile(self.losses)
