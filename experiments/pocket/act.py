"""pocket-act: one shared block applied up to `max_steps` times; every token halts by itself (Graves 2016); Transformer-XL memory.

Training runs the `context` tokens of a row as segments of `segment`; each segment's keys are the block inputs of the previous
segment at the same step (no gradient flows into them) and its own. The loss adds a price on ponder time (N + R per token). The price is
steered so that the mean ponder time meets `target_ponder`: without that, it ends at one step or at the cap.
"""
import math
from dataclasses import dataclass

import torch
from torch import nn

from common import RmsNorm, attend, init_std, linear, rope_table, rotate_halves, swiglu, token_losses, truncated_normal_


@dataclass
class Config:
    vocab: int = 4096
    dim: int = 256
    heads: int = 4
    ff: int = 1024
    max_steps: int = 6
    segment: int = 128
    mem_len: int = 128
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    epsilon: float = 0.01
    halt_bias: float = -1.0      # at first p = 0.27: four steps
    target_ponder: float = 4.0
    ponder_start: float = 0.2    # share of the run before the price acts
    price_rate: float = 0.0005


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, std = c.heads, init_std(c.dim)
        out_std = std / math.sqrt(2 * c.max_steps)
        self.norm1, self.norm2 = RmsNorm(c.dim, c.norm_eps), RmsNorm(c.dim, c.norm_eps)
        self.attn, self.mlp = nn.Module(), nn.Module()
        for name, s in (("wq", std), ("wk", std), ("wv", std), ("wo", out_std)):
            setattr(self.attn, name, linear(c.dim, c.dim, s))
        self.mlp.gate, self.mlp.up = linear(c.dim, c.ff, std), linear(c.dim, c.ff, std)
        self.mlp.down = linear(c.ff, c.dim, out_std)

    def forward(self, u, memory, cos, sin, mask):
        """u [B, L, D]: the segment's inputs at this step; memory [B, M, D]: rows before it. Positions count from the oldest row."""
        rows = self.norm1(torch.cat([memory, u], 1))
        m, n = memory.shape[1], rows.shape[1]
        q, k, v = (w(t).unflatten(-1, (self.heads, -1))
                   for w, t in ((self.attn.wq, rows[:, m:]), (self.attn.wk, rows), (self.attn.wv, rows)))
        q, k = rotate_halves(q, cos[m:n], sin[m:n]), rotate_halves(k, cos[:n], sin[:n])
        y = u + self.attn.wo(attend(q, k, v, mask))
        h = self.norm2(y)
        return y + self.mlp.down(swiglu(self.mlp.gate(h), self.mlp.up(h)))


class Model(nn.Module):
    Config = Config

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.eval_depths = tuple(range(0, c.max_steps + 1))  # 0: the model's own halting
        self.tok_emb = nn.Embedding(c.vocab, c.dim)
        truncated_normal_(self.tok_emb.weight.data, init_std(c.dim))
        self.block, self.norm_f = Block(c), RmsNorm(c.dim, c.norm_eps)
        self.halt = nn.Linear(c.dim, 1)
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, c.halt_bias)
        self.register_buffer("price", torch.zeros(()))
        self.cos, self.sin = rope_table(c.segment + c.mem_len, c.dim // c.heads, c.rope_theta)

    def halting(self, z, cum, running, last):
        """One step of Graves's arithmetic: this step's weight, and the new cumulative sum and running flags."""
        z = z.float() if z.dtype == torch.bfloat16 else z
        p = torch.sigmoid(z @ self.halt.weight[0] + self.halt.bias)
        stop = running & ((cum + p >= 1 - self.config.epsilon) | last)
        weight = torch.where(stop, 1 - cum, p) * running
        return weight, torch.where(running & ~stop, cum + p, cum), running & ~stop, stop

    def segment_pass(self, x, memory, halt, depth):
        """y [B, L, D], N and R [B, L], and the inputs u of every step, which become memory. `halt` False: depth steps, last z."""
        c = self.config
        m, length = memory[0].shape[1], x.shape[1]
        mask = torch.ones(length, m + length, dtype=torch.bool).tril(m)
        state, y = x, torch.zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
        cum = torch.zeros(x.shape[:2], dtype=y.dtype)
        running, n_steps, remainder, inputs = torch.ones(x.shape[:2], dtype=torch.bool), torch.zeros(x.shape[:2]), cum.clone(), []
        for step in range(c.max_steps):
            inputs.append(state)
            z = self.step(state, memory[step], self.cos, self.sin, mask)
            if not halt:
                state = z
                if step + 1 == depth:
                    y = z
                continue
            n_steps += running
            weight, cum, still, stop = self.halting(z, cum, running, step + 1 == c.max_steps)
            remainder = torch.where(stop, weight, remainder)
            y = y + weight[..., None] * z
            state = torch.where(running[..., None], z, state)
            running = still
        return y, n_steps, remainder, inputs

    def step(self, *args):
        return self.block(*args)

    def read_out(self, y, targets):
        return token_losses(self.norm_f(y), self.tok_emb.weight, targets)

    def row_pass(self, ids, targets, halt=True, depth=0):
        """Losses, N and R [B, T] of whole rows, segment by segment."""
        c = self.config
        x = self.tok_emb(ids)
        x = x.bfloat16() if torch.is_autocast_enabled("cpu") else x
        memory, out = [x[:, :0]] * c.max_steps, []
        for begin in range(0, ids.shape[1], c.segment):
            part = slice(begin, begin + c.segment)
            y, n_steps, remainder, inputs = self.segment_pass(x[:, part], memory, halt, depth)
            memory = [torch.cat([m, u.detach()], 1)[:, -c.mem_len:] for m, u in zip(memory, inputs)]
            out.append((self.read_out(y.to(x.dtype), targets[:, part]), n_steps, remainder))
        return [torch.cat(t, 1) for t in zip(*out)]

    def training_losses(self, ids, targets, generator, progress):
        c = self.config
        losses, n_steps, remainder = self.row_pass(ids, targets)
        ponder = (n_steps + remainder).mean()
        if progress > c.ponder_start:
            self.price += c.price_rate * (ponder.item() - c.target_ponder)
            self.price.clamp_(0.0, 0.2)
        return losses, self.price * remainder.mean(), {"N": n_steps.mean(), "sd": n_steps.std(), "price": self.price}

    @torch.no_grad()
    def depth_losses(self, ids, targets, depths=None):
        return {d: self.row_pass(ids, targets, halt=d == 0, depth=d)[0] for d in depths or self.eval_depths}

    def compile(self):
        self.step, self.read_out = torch.compile(self.step), torch.compile(self.read_out)
