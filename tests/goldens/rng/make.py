"""Writes torch_<major>.<minor>.json: what the installed PyTorch draws on CPU for a few seeds.

    python make.py OUTPUT_DIR

Floats are stored as the hexadecimal digits of their 32 bits, eight a value, without separators.
"""

import json
import pathlib
import struct
import sys

import torch

SEEDS = [0, 1234, 2**31 + 5, 2**63 + 1]
SHAPES = [[1, 1, 8], [1, 3, 5], [1, 7, 64], [2, 12, 48], [1, 5, 256]]
# std, emb_scale, init_scale
SCALES = [
    (0.008703882797784892, 72.6636084983398, 1.0),
    (0.07905694150420949, 8.0, 1.0),
    (0.008703882797784892, 1.0, 2.5),
    (0.07905694150420949, 8.0, 0.5),
]
STRIDE = 4  # of large tensors, every STRIDE-th value is kept, and the last 16


def words(tensor):
    return [struct.unpack("<I", struct.pack("<f", v))[0] for v in tensor.flatten().tolist()]


def digits(tensor):
    return "".join(f"{w:08x}" for w in words(tensor))


def fnv1a(tensor):
    value = 0xCBF29CE484222325
    for word in words(tensor):
        for byte in struct.pack("<I", word):
            value = ((value ^ byte) * 0x100000001B3) % 2**64
    return f"{value:016x}"


def thinned(tensor):
    flat = tensor.flatten()
    if flat.numel() < 64:
        return flat
    return torch.cat([flat[::STRIDE], flat[-16:]])


def primitives(seed):
    torch.manual_seed(seed)
    uniforms = torch.empty(2000).uniform_(0, 1)
    stretched = torch.empty(2000).uniform_(-0.9973002039367398, 0.9973002039367398)
    # Odd sizes leave half a pair behind; sizes past 16 end in an incomplete group.
    normals = [torch.empty(n).normal_(0.25, 1.5) for n in (1, 3, 16, 15, 17, 2, 40)]
    return {
        "seed": str(seed),
        "uniforms": digits(uniforms[:32]),
        "uniforms_hash": fnv1a(uniforms),
        "stretched": digits(stretched[:32]),
        "stretched_hash": fnv1a(stretched),
        "normals": [digits(n) for n in normals],
        "next": digits(torch.empty(1).uniform_(0, 1)),
    }


def state(seed, shape, std, emb_scale, init_scale):
    """initialize_state of the public Raven model, for float32 embeddings of this shape."""
    torch.manual_seed(seed)
    x = torch.randn_like(torch.zeros(shape))
    scaled = std * init_scale
    torch.nn.init.trunc_normal_(x, mean=0.0, std=scaled, a=-3 * scaled, b=3 * scaled)
    if emb_scale != 1:
        x = x * emb_scale
    return {
        "seed": str(seed),
        "shape": shape,
        "std": std,
        "emb_scale": emb_scale,
        "init_scale": init_scale,
        "values": digits(thinned(x)),
        "next": digits(torch.empty(1).uniform_(0, 1)),
    }


def main():
    version = torch.__version__
    major, minor = (int(part) for part in version.split(".")[:2])
    golden = {
        "torch": version,
        "trunc_normal": "inverse_cdf" if (major, minor) < (2, 12) else "rejection",
        "stride": STRIDE,
        "primitives": [primitives(seed) for seed in SEEDS],
        "states": [
            state(seed, shape, *SCALES[(i + j) % len(SCALES)])
            for i, seed in enumerate(SEEDS)
            for j, shape in enumerate(SHAPES)
        ],
    }
    path = pathlib.Path(sys.argv[1]) / f"torch_{major}.{minor}.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


main()
