"""Muon for matrices inside the network, AdamW for the rest.

Muon replaces a matrix's momentum by the nearest (half-)orthogonal matrix, by five Newton-Schulz steps in bf16, and scales it to an
entry size of 0.2, so that one learning rate serves both optimisers.
"""
import torch


def orthogonalize(m):
    """m [n, rows, cols]; quintic Newton-Schulz with the usual coefficients. Singular values end near 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = m.shape[1] > m.shape[2]
    x = m.bfloat16()
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                moving = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(moving, group["momentum"])
                parts = getattr(p, "muon_parts", 1)
                m = update.view(parts, -1, p.shape[1])
                scale = 0.2 * max(m.shape[1:]) ** 0.5 * getattr(p, "muon_pace", 1.0)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonalize(m).reshape(p.shape).to(p.dtype), alpha=-group["lr"] * scale)


def optimizers(model, lr, adam_lr):
    """Muon for every matrix but embeddings and other lookup tables; AdamW without decay for the rest."""
    inner, rest = [], []
    for name, p in model.named_parameters():
        if p.requires_grad:
            lookup = p.ndim != 2 or min(p.shape) < 8 or any(s in name for s in ("wte", "embed", "tok_emb", "tables"))
            (rest if lookup else inner).append(p)
    return [Muon(inner, lr), torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)]
