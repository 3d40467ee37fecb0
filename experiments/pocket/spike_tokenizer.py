"""SpikeTokenizer: longest match over a vocabulary of byte strings (`algorithm`: "length-max"). Training and encoding.

    python spike_tokenizer.py CORPUS.txt [MORE.txt ...] --vocab 4096 --out spike_tokenizer.json

Ids: 0-3 <pad> <unk> <bos> <eos>, 4 + b the byte b, then learned pieces, then the 17 special tokens. Pieces are learned in two steps: BPE
proposes half as many again as fit, and those that longest-match encoding uses most (in bytes covered) stay.
"""
import collections
import json

import bpe

BASE = ["<pad>", "<unk>", "<bos>", "<eos>"]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<begin_solution>", "<end_solution>", "<tool_call>",
            "</tool_call>", "<tool_response>", "</tool_response>", "<|system|>", "<|user|>", "<|assistant|>", "<|endoftext|>",
            "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]
LONGEST = 24  # bytes


def longest_match(data, vocab, longest=LONGEST):
    """Ids of the bytes `data`; vocab maps bytes to ids and holds every single byte."""
    ids, i = [], 0
    while i < len(data):
        for length in range(min(longest, len(data) - i), 0, -1):
            found = vocab.get(data[i:i + length])
            if found is not None:
                ids.append(found)
                i += length
                break
    return ids


def proposals(blocks, count):
    """Byte strings of the first `count` merges that are short enough."""
    to_byte = {c: b for b, c in bpe.ALPHABET.items()}
    model = bpe.train(blocks, 256 + count + len(bpe.SPECIALS))["model"]
    pieces = (bytes(to_byte[c] for c in piece) for piece in model["vocab"])
    return [p for p in pieces if 1 < len(p) <= LONGEST]


def train(blocks, vocab_size):
    room = vocab_size - len(BASE) - 256 - len(SPECIALS)
    pieces = proposals(blocks, room * 3 // 2)
    trial = {bytes([b]): -1 for b in range(256)} | {p: i for i, p in enumerate(pieces)}
    used = collections.Counter()
    for block in blocks[::4]:
        used.update(longest_match(block.encode(), trial))
    kept = sorted(range(len(pieces)), key=lambda i: -used[i] * (len(pieces[i]) - 1))[:room]
    vocab = {name: i for i, name in enumerate(BASE)}
    vocab |= {chr(b): len(BASE) + b for b in range(256)}
    vocab |= {pieces[i].decode("latin-1"): len(BASE) + 256 + j for j, i in enumerate(sorted(kept))}
    vocab |= {name: vocab_size - len(SPECIALS) + i for i, name in enumerate(SPECIALS)}
    return {"vocab": vocab, "vocab_size": vocab_size, "max_token_len": LONGEST, "algorithm": "length-max",
            "special_tokens": SPECIALS}


class SpikeTokenizer:
    """Encodes text without special tokens in it (training text has none). Words between spaces are cached."""

    def __init__(self, path):
        data = json.load(open(path, encoding="utf-8"))
        atomic = set(BASE) | set(data["special_tokens"])
        self.vocab = {k.encode("latin-1"): i for k, i in data["vocab"].items() if k not in atomic}
        self.begin, self.end, self.size = data["vocab"]["<bos>"], data["vocab"]["<eos>"], data["vocab_size"]

    def encode(self, text):
        return longest_match(text.encode(), self.vocab)


if __name__ == "__main__":
    bpe.run(train, __doc__, "spike_tokenizer.json")
