"""Text to training arrays: ids.npy (uint16) and kind.npy (uint8: 0 text, 1 question of a task, 2 its answer).

    python prepare.py --tokenizer tokenizer.json --text train.txt train_code.txt --out DATA

Documents (two blank lines apart) and documents of algorithmic lines (tasks.py, seed 1) are shuffled together with seed 7, each
between the tokenizer's begin and end ids. Held-out arrays eval_NAME.npy are made from the evaluation texts beside this folder.
"""
import argparse
import json
import os
import random

import numpy as np

import tasks
from bpe import ByteLevelBpe
from spike_tokenizer import SpikeTokenizer

TEXTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "texts")


def load_tokenizer(path):
    data = json.load(open(path, encoding="utf-8"))
    return SpikeTokenizer(path) if data.get("algorithm") == "length-max" else ByteLevelBpe(path)


def encode_task_lines(tokenizer, document):
    """A line's question (with its mark) and answer are encoded together, then told apart by length."""
    ids, kinds = [], []
    for line in document.split("\n"):
        whole = tokenizer.encode(line + "\n")
        question = len(tokenizer.encode(line[:tasks.answer_start(line)].rstrip(" ")))
        ids += whole
        kinds += [1] * question + [2] * (len(whole) - question)
    return ids, kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--task-bytes", type=int, default=9_000_000)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    tokenizer = load_tokenizer(args.tokenizer)
    os.makedirs(args.out, exist_ok=True)
    work = [(False, d.strip("\n")) for path in args.text for d in open(path, encoding="utf-8").read().split("\n\n\n")]
    avoid = tasks.lines_of([f"{TEXTS}/tasks.txt", f"{TEXTS}/arithmetic.txt"])
    work += [(True, d) for d in tasks.documents(1, args.task_bytes, avoid)]
    random.Random(7).shuffle(work)
    ids, kinds = [], []
    for is_task, document in work:
        if not document:
            continue
        part, kind = encode_task_lines(tokenizer, document) if is_task else (tokenizer.encode(document), None)
        ids.append(np.array([tokenizer.begin, *part, tokenizer.end], np.uint16))
        kinds.append(np.array([0, *(kind or [0] * len(part)), 0], np.uint8))
    ids, kinds = np.concatenate(ids), np.concatenate(kinds)
    np.save(f"{args.out}/ids.npy", ids)
    np.save(f"{args.out}/kind.npy", kinds)
    print(len(ids), "tokens:", {k: int((kinds == k).sum()) for k in range(3)})
    for name in ("prose", "code", "arithmetic", "theorems", "tasks"):
        text = open(f"{TEXTS}/{name}.txt", encoding="utf-8").read()[:60000]
        np.save(f"{args.out}/eval_{name}.npy", np.array(tokenizer.encode(text), np.uint16))


if __name__ == "__main__":
    main()
