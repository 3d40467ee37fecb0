"""Makes nll.safetensors: what an independent PyTorch forward of the bundled pocket-raven gives.

    python3 -m venv venv && venv/bin/pip install torch safetensors tokenizers numpy
    venv/bin/python tests/goldens/pocket/make.py          # from the project's top folder

Per text: {text}.ids I32 [N+1] and {text}.nll_r{r} F32 [N], r the recurrences, s_0 = 0, arithmetic in float64 on the
stored bf16 weights.
"""
import json, math, torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

HOME, N, DEPTHS = "experiments/models/pocket-raven", 96, (0, 1, 2, 4, 8, 16)
W = {k: v.double() for k, v in load_file(f"{HOME}/model.safetensors").items()}
C = json.load(open(f"{HOME}/config.json"))
E, H, EPS = C["n_embd"], C["n_heads"], C["norm_eps"]
D = E // H


def norm(x, weight):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * weight


def rotate(x):  # [T, H, D], pairs (2j, 2j+1)
    angle = torch.outer(torch.arange(len(x)).double(), C["rope_base"] ** (-torch.arange(0, D, 2).double() / D))
    cos, sin, a, b = angle.cos()[:, None], angle.sin()[:, None], x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


def block(x, name):
    w = lambda part: W[f"transformer.{name}.{part}"]
    q, k, v = (norm(x, w("norm_1.weight")) @ w("attn.Wqkv.weight").T).view(-1, 3, H, D).unbind(1)
    bias = w("attn.qk_bias")[:, 0]
    q, k = rotate(q + bias[0]), rotate(k + bias[1])
    score = torch.einsum("thd,shd->hts", q, k) / math.sqrt(D)
    score = score.masked_fill(torch.ones(len(x), len(x)).triu(1).bool(), -math.inf)
    mixed = torch.einsum("hts,shd->thd", score.softmax(-1), v).flatten(1)
    x = norm(x + mixed @ w("attn.proj.weight").T, w("norm_2.weight"))
    gate, up = (norm(x, w("norm_3.weight")) @ w("mlp.fc.weight").T).chunk(2, -1)
    return norm(x + (torch.nn.functional.silu(gate) * up) @ w("mlp.proj.weight").T, w("norm_4.weight"))


def logits_by_depth(ids):
    e = W["transformer.wte.weight"][ids] * C["init_values"]["embed_scale"]
    for j in range(C["n_layers_in_prelude"]):
        e = block(e, f"prelude.{j}")
    state = torch.zeros_like(e)
    for r in range(max(DEPTHS) + 1):
        if r in DEPTHS:
            h = norm(state, W["transformer.ln_f.weight"])
            for j in range(C["n_layers_in_coda"]):
                h = block(h, f"coda.{j}")
            yield r, norm(h, W["transformer.ln_f.weight"]) @ W["transformer.wte.weight"].T
        state = torch.cat([state, e], -1) @ W["transformer.adapter.weight"].T
        for j in range(C["n_layers_in_recurrent_block"]):
            state = block(state, f"core_block.{j}")


out, tokenizer = {}, Tokenizer.from_file(f"{HOME}/tokenizer.json")
for text in ("prose", "code", "tasks"):
    ids = torch.tensor(tokenizer.encode(open(f"experiments/texts/{text}.txt").read()[:4000]).ids[: N + 1])
    out[f"{text}.ids"] = ids.int()
    for r, logits in logits_by_depth(ids[:N]):
        out[f"{text}.nll_r{r}"] = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none").float()
save_file(out, "tests/goldens/pocket/nll.safetensors")
