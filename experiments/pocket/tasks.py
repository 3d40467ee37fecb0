"""Algorithmic lines: short tasks whose answer takes several dependent steps.

    python tasks.py --seed 1 --bytes 12000000 --avoid ../texts/tasks.txt ../texts/arithmetic.txt > tasks_train.txt

A line is a question, a mark (" -> " or " = " last in the line), and its answer. Lines that stand in one of the --avoid
files are not written, so that an evaluation never scores a line that was trained on. Forty lines make a document.
"""
import argparse
import random

LETTERS = "abcdefghij"


def digits(rng, high=9):
    return [rng.randint(0, high) for _ in range(rng.randint(2, 12))]


def spaced(items):
    return " ".join(map(str, items))


def fold(rng):  # one pass over a list
    kind = rng.randrange(4)
    if kind == 0:
        x = digits(rng)
        return f"sum mod 10: {spaced(x)} -> {sum(x) % 10}"
    if kind == 1:
        x = digits(rng, 1)
        return f"parity: {spaced(x)} -> {'odd' if sum(x) % 2 else 'even'}"
    if kind == 2:
        x = digits(rng)
        return f"max: {spaced(x)} -> {max(x)}"
    x = [rng.choice(LETTERS[:4]) for _ in range(rng.randint(2, 12))]
    sought = rng.choice(LETTERS[:4])
    return f"count {sought}: {spaced(x)} -> {x.count(sought)}"


def rearrange(rng):
    if rng.randrange(2):
        x = digits(rng)
        return f"sort: {spaced(x)} -> {spaced(sorted(x))}"
    x = [rng.choice(LETTERS) for _ in range(rng.randint(2, 12))]
    return f"reverse: {spaced(x)} -> {spaced(x[::-1])}"


def brackets(rng, start=9, change=9):
    value = rng.randint(0, start)
    text = str(value)
    for _ in range(rng.randint(1, 4)):
        other, sign = rng.randint(0, change), rng.choice("+-")
        text, value = f"({text} {sign} {other})", value + other if sign == "+" else value - other
    return f"{text} = {value}"


def variables(rng):
    names, value = rng.sample("pqrstuvwxyz", rng.randint(2, 5)), rng.randint(0, 5)
    parts = [f"{names[0]} = {value}"]
    for before, name in zip(names, names[1:]):
        step = rng.randint(0, 4)
        value += step
        parts.append(f"{name} = {before} + {step}")
    return " ; ".join(parts) + f" ; {names[-1]} -> {value}"


def two_numbers(rng):
    high = 10 ** rng.randint(1, 3) - 1
    a, b, sign = rng.randint(0, high), rng.randint(0, high), rng.choice("++--*%")
    if sign == "*":
        a, b = a % 20, b % 20
    if sign == "%":
        b = b % 20 + 1
    value = a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "*" else a % b
    return f"{a} {sign} {b} = {value}"


def chain(rng):
    value = rng.randint(0, 99)
    text = str(value)
    for _ in range(rng.randint(2, 5)):
        other, sign = rng.randint(0, 99), rng.choice("+-")
        text, value = f"{text} {sign} {other}", value + other if sign == "+" else value - other
    return f"{text} = {value}"


KINDS = [fold, fold, fold, rearrange, rearrange, brackets, variables, variables, two_numbers, chain]


def documents(seed, n_bytes, avoid=()):
    """Yields documents of forty lines until n_bytes are out."""
    rng, lines, size = random.Random(seed), [], 0
    while size < n_bytes:
        line = rng.choice(KINDS)(rng)
        if line in avoid:
            continue
        lines.append(line)
        size += len(line) + 1
        if len(lines) == 40:
            yield "\n".join(lines)
            lines = []


def answer_start(line):
    """Index of the first character of the answer: what follows the last '-> ' or '= '."""
    return max(line.rfind("-> ") + 3, line.rfind("= ") + 2)


def lines_of(paths):
    return {line for path in paths for line in open(path, encoding="utf-8").read().split("\n") if line}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=12_000_000)
    parser.add_argument("--avoid", nargs="*", default=[])
    args = parser.parse_args()
    for document in documents(args.seed, args.bytes, lines_of(args.avoid)):
        print(document, end="\n\n\n")
