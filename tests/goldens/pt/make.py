"""Makes loaded/*.pt, loaded/*.safetensors and names.json. Needs torch, numpy and safetensors:

    python3 make.py
"""
import collections
import os
import sys
import types

import torch
from safetensors.torch import save_file

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "loaded")
os.makedirs(here, exist_ok=True)
torch.manual_seed(7)

cfg = {"dim": 4, "n_layers": 2, "rope_theta": 10000.0, "tie_embeddings": True, "name": "toy",
       "ckpt": None, "betas": (0.9, 0.95), "big": 2**40, "minus": -3, "long_minus": -(2**40)}


def weights(dtype):
    model = collections.OrderedDict()
    model["_orig_mod.tok_emb.weight"] = torch.randn(6, 4).to(dtype)
    for i in range(12):  # two digits, so that {i} has to be a run
        model[f"_orig_mod.blocks.{i}.attn.qkv.weight"] = torch.randn(6, 4).to(dtype)
        model[f"_orig_mod.blocks.{i}.norm.weight"] = torch.randn(4).to(dtype)
    model["_orig_mod.lm_head.weight"] = model["_orig_mod.tok_emb.weight"]
    model["_orig_mod.fc.weight"] = torch.randn(3, 4).to(dtype).t()  # strided, and turned by the map
    model["_orig_mod.rope.inv_freq"] = torch.randn(2)
    model._metadata = collections.OrderedDict({"": {"version": 1}})  # as state_dict() attaches it
    return model


def canonical(model):
    out = {}
    for name, t in model.items():
        name = name.removeprefix("_orig_mod.")
        if name == "tok_emb.weight": out[name] = t
        elif name.endswith("norm.weight"): out[name.replace("blocks", "layers")] = t
        elif name.endswith("qkv.weight"):
            for part, letter in zip(t.chunk(3), "qkv"):
                out[name.replace("blocks", "layers").replace("qkv", "w" + letter)] = part
        elif name == "fc.weight": out[name] = t.t()
    return {k: v.contiguous().clone() for k, v in out.items()}


f32 = weights(torch.float32)
torch.save({"step": 3, "cfg": cfg, "model": f32}, f"{here}/f32.pt")
save_file(canonical(f32), f"{here}/f32.safetensors")

bf16 = weights(torch.bfloat16)
opt = {"state": {0: {"momentum": torch.randn(6, 4), "step": 3}}, "groups": [{"lr": 1e-3, "params": [0, 1]}]}
torch.save({"opt": opt, "rng": torch.get_rng_state()[:64].clone(), "model": bf16, "cfg": cfg}, f"{here}/bf16_opt.pt")
save_file(canonical(bf16), f"{here}/bf16_opt.safetensors")

module = types.ModuleType("config")
class Config: pass
Config.__module__, Config.__qualname__ = "config", "Config"
module.Config = Config
sys.modules["config"] = module
obj = Config(); obj.__dict__.update(cfg)
torch.save({"cfg": obj, "model": f32}, f"{here}/cfg_object.pt")

base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
views = {"plain": base, "permuted": base.permute(2, 0, 1), "column": base[:, :, 1], "tail": base[1],
         "expanded": torch.arange(4.0)[:1].expand(4), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3),
         "param": torch.nn.Parameter(torch.ones(2)), "f16": torch.tensor([1.5]).half(), "f64": torch.tensor([1.5]).double(),
         "i64": torch.tensor([2**40]), "i32": torch.tensor([-5], dtype=torch.int32), "i16": torch.tensor([-6], dtype=torch.int16),
         "i8": torch.tensor([-7], dtype=torch.int8), "u8": torch.tensor([200], dtype=torch.uint8), "flag": torch.tensor([True])}
torch.save(views, f"{here}/views_bare.pt")
save_file({k: v.detach().contiguous().clone() for k, v in views.items()}, f"{here}/views_bare.safetensors")
