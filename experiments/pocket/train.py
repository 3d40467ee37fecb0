"""The one training loop.

    python train.py raven --data DATA --out RUN --steps 2000 [--set mean_steps=6 core=1] [--resume]

Everything follows from the step number (learning rate, data, depth drawn), never from the clock, so that a run can be stopped,
continued or slowed without changing what it does. RUN gets log.txt, curve.csv and checkpoint.pt.
"""
import argparse
import importlib
import os
import signal
import sys
import time

import numpy as np
import torch

from muon import optimizers

TEXTS = ("prose", "code", "arithmetic", "theorems", "tasks")
KINDS = ("text", "question", "answer")


class Windows:
    """Non-overlapping windows of the corpus in an order fixed by (seed, epoch)."""

    def __init__(self, data, context, seed):
        self.ids = torch.from_numpy(np.load(f"{data}/ids.npy").astype(np.int32))
        self.kind = torch.from_numpy(np.load(f"{data}/kind.npy"))
        self.context, self.seed, self.n = context, seed, (len(self.ids) - 1) // context - 1
        self.epoch = None

    def batch(self, step, size):
        """ids, targets, kind of each target: [size, context] each, a function of the step alone."""
        rows = []
        for i in range(step * size, (step + 1) * size):
            if self.epoch != i // self.n:
                self.epoch = i // self.n
                g = torch.Generator().manual_seed(self.seed * 1000 + self.epoch)
                self.order = torch.randperm(self.n, generator=g)
                self.shift = int(torch.randint(0, self.context, (1,), generator=g))
            rows.append(int(self.order[i % self.n]) * self.context + self.shift)
        pick = torch.tensor(rows)[:, None] + torch.arange(self.context + 1)
        ids = self.ids[pick].long()
        return ids[:, :-1], ids[:, 1:], self.kind[pick[:, 1:]].long()


def learning_rate(step, args):
    """Linear warm-up, level, linear fall to a twentieth over the last `decay` of the run: a factor."""
    warm = min(1.0, (step + 1) / args.warmup)
    left = (args.steps - step) / (args.decay * args.steps)
    return warm * max(0.05, min(1.0, left))


def evaluate(model, data, batch, context):
    """{text: {depth: nats per token}} on the first batch x context tokens of each held-out text."""
    result = {}
    for name in TEXTS:
        ids = torch.from_numpy(np.load(f"{data}/eval_{name}.npy").astype(np.int64))
        n = min((len(ids) - 1) // context, batch)
        rows = torch.arange(batch)[:, None] % n * context + torch.arange(context)
        losses = model.depth_losses(ids[rows], ids[rows + 1])
        result[name] = {depth: loss[:n].float().mean().item() for depth, loss in losses.items()}
    return result


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--adam-lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--decay", type=float, default=0.3)
    parser.add_argument("--question-weight", type=float, default=0.1)
    parser.add_argument("--answer-weight", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--eval-every", type=int, default=200)
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of the model's Config")
    parser.add_argument("--start", help="checkpoint.pt whose weights to begin with (optimiser and step afresh)")
    parser.add_argument("--resume", action="store_true", help="continue RUN/checkpoint.pt")
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def configure(module, settings):
    config = module.Config()
    for item in settings:
        name, value = item.split("=")
        setattr(config, name, type(getattr(config, name))(value))
    return config


def begin_with(model, weights, say):
    """Takes over every weight of the same name and shape; says what was left as it was drawn, and what was not used."""
    own = model.state_dict()
    taken = {n: w for n, w in weights.items() if n in own and own[n].shape == w.shape}
    model.load_state_dict(taken, strict=False)
    say("# started from given weights:", len(taken), "tensors; drawn afresh:", sorted(own.keys() - taken.keys()),
        "; not used:", sorted(weights.keys() - taken.keys()))


def save(path, **state):
    torch.save(state, path + ".tmp")
    os.replace(path + ".tmp", path)


def main():
    args = parse()
    torch.manual_seed(args.seed)
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    os.makedirs(args.out, exist_ok=True)
    log = open(f"{args.out}/log.txt", "a")

    def say(*words):
        print(*words, file=log, flush=True)

    module = importlib.import_module(args.architecture)
    model = module.Model(configure(module, args.set))
    if args.start:
        begin_with(model, torch.load(args.start)["model"], say)
    opts = optimizers(model, args.lr, args.adam_lr)
    first = 0
    if args.resume and os.path.exists(f"{args.out}/checkpoint.pt"):
        saved = torch.load(f"{args.out}/checkpoint.pt")
        model.load_state_dict(saved["model"])
        [o.load_state_dict(s) for o, s in zip(opts, saved["optimizers"])]
        first = saved["step"]
    say("#", " ".join(sys.argv))
    say("#", model.config, sum(p.numel() for p in model.parameters()), "parameters; torch", torch.__version__)
    if not args.no_compile:
        model.compile()
    stopping = []  # SIGTERM: finish the step, save, leave
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    windows = Windows(args.data, args.context, args.seed)
    weight = torch.tensor([1.0, args.question_weight, args.answer_weight])
    sums, counts, extra_sums, since, began = torch.zeros(3), torch.zeros(3), {}, 0, time.time()
    for step in range(first, args.steps):
        factor = learning_rate(step, args)
        for opt, base in zip(opts, (args.lr, args.adam_lr)):
            for group in opt.param_groups:
                group["lr"] = base * factor
        ids, targets, kind = windows.batch(step, args.batch)
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses, extra, notes = model.training_losses(ids, targets, generator, step / args.steps)
        w = weight[kind]
        ((losses * w).sum() / w.sum() + extra).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        for k in range(3):
            sums[k] += losses.detach()[kind == k].sum()
            counts[k] += (kind == k).sum()
        for name, value in notes.items():
            extra_sums[name] = extra_sums.get(name, 0.0) + float(value)
        since += 1
        if (step + 1) % 20 == 0:
            speed = since * ids.numel() / (time.time() - began)
            means = " ".join(f"{n} {s / max(c, 1):.3f}" for n, s, c in zip(KINDS, sums, counts))
            notes = " ".join(f"{n} {v / since:.2f}" for n, v in extra_sums.items())
            say(f"step {step + 1} tokens {(step + 1) * ids.numel()} {means} lr {args.lr * factor:.2e} {notes} {speed:.0f} tok/s")
            sums, counts, extra_sums, since, began = torch.zeros(3), torch.zeros(3), {}, 0, time.time()
        if (step + 1) % args.eval_every == 0 or step + 1 == args.steps:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                result = evaluate(model, args.data, args.batch, args.context)
            with open(f"{args.out}/curve.csv", "a") as curve:
                for name, by_depth in result.items():
                    say("  held out", name, {d: round(v, 3) for d, v in by_depth.items()})
                    for depth, nats in by_depth.items():
                        print(step + 1, (step + 1) * ids.numel(), name, depth, f"{nats:.4f}", sep=",", file=curve)
            began = time.time()
        if (step + 1) % 50 == 0 or step + 1 == args.steps or stopping:
            save(f"{args.out}/checkpoint.pt", model=model.state_dict(), optimizers=[o.state_dict() for o in opts],
                 step=step + 1, config=vars(model.config), architecture=args.architecture)
            if stopping:
                say(f"# stopped after step {step + 1}")
                return


if __name__ == "__main__":
    main()
