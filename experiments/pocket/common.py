"""What the architectures share: norm, rotation, causal attention, the recurrence of looped models, the loss per token."""
import math

import torch
import torch.nn.functional as F
from torch import nn


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, in float32 whatever comes in; the result has the input's type."""

    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        wide = x.float() if x.dtype == torch.bfloat16 else x
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


def rope_table(n_positions, rope_dim, base):
    """[n_positions, rope_dim / 2] cosines and sines, angles formed in float32."""
    frequency = 1.0 / base ** (torch.arange(0, rope_dim, 2).float() / rope_dim)
    angle = torch.outer(torch.arange(n_positions).float(), frequency)
    return angle.cos(), angle.sin()


def rotate_pairs(x, cos, sin):
    """Interleaved layout (Huginn, Crowfeather): pairs (2m, 2m+1) of x [B, T, H, d]; cos, sin [T, d/2]."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


def rotate_halves(x, cos, sin):
    """Half-split layout (Llama, ACT, Byrne): pairs (m, m + d/2)."""
    a, b = x.chunk(2, -1)
    cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(q, k, v, mask=None):
    """Softmax attention of [B, T, H, d] queries; causal unless a mask (True = visible) is given. Returns [B, T, H * d]."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return out.transpose(1, 2).flatten(2)


def truncated_normal_(tensor, std, generator=None):
    return nn.init.trunc_normal_(tensor, 0.0, std, -3 * std, 3 * std, generator=generator)


def linear(n_in, n_out, std, bias=False, muon_parts=1):
    """A linear layer with truncated normal weights. muon_parts: how many matrices lie stacked in its rows."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    truncated_normal_(layer.weight.data, std)
    layer.weight.muon_parts = muon_parts
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def token_losses(hidden, embedding, targets, softcap=0.0):
    """Cross-entropy per token [B, T], logits = hidden . embedding^T, the softmax in float32."""
    logits = F.linear(hidden.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") else hidden, embedding).float()
    if hidden.dtype == torch.float64:
        logits = F.linear(hidden, embedding)
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


def swiglu(gate, up):
    return F.silu(gate) * up


def init_std(dim):
    return math.sqrt(2 / (5 * dim))


class Looped(nn.Module):
    """A recurrent-depth model: e = enter(ids); s_0 = initial_state(e); s_k = iterate(s_(k-1), e); losses = leave(s_k, targets)."""
    eval_depths = (1, 2, 3, 4, 6, 8, 12, 16)

    def losses_after(self, ids, targets, steps, generator, grad_steps=None):
        """Losses [B, T] after `steps`; gradients reach back through the last grad_steps of them, by default through all."""
        e = self.enter(ids)
        state = self.initial_state(e, generator)
        free = 0 if grad_steps is None else max(steps - grad_steps, 0)
        with torch.no_grad():
            for _ in range(free):
                state = self.iterate(state, e)
        for _ in range(steps - free):
            state = self.iterate(state, e)
        return self.leave(state, targets)

    @torch.no_grad()
    def depth_losses(self, ids, targets, depths=None, state=None):
        """{depth: loss per token}, one pass."""
        depths, out = depths or self.eval_depths, {}
        e = self.enter(ids)
        state = self.initial_state(e, torch.Generator().manual_seed(0)) if state is None else state
        for step in range(max(depths) + 1):
            if step in depths:
                out[step] = self.leave(state, targets)
            state = self.iterate(state, e)
        return out

    def compile(self):
        self.enter, self.iterate, self.leave = map(torch.compile, (self.enter, self.iterate, self.leave))


def lognormal_poisson(mean, generator, sigma=0.5):
    """The published draw of a number of steps: Poisson, its rate log-normal with this mean (Huginn paper, training objective)."""
    rate = math.exp(math.log(mean) - sigma ** 2 / 2 + sigma * torch.randn(1, generator=generator).item())
    return int(torch.poisson(torch.tensor([rate]), generator=generator))
