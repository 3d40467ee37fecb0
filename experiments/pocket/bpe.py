"""Byte-level BPE in Hugging Face's tokenizer.json: training, reading back, encoding.

    python bpe.py CORPUS.txt [MORE.txt ...] --vocab 4096 --out tokenizer.json

Training is the usual greedy merge of the most frequent neighbouring pair, kept in a heap with stale entries skipped.
Every fourth block of 60,000 characters is used: enough for 4096 pieces, and a minute's work.
"""
import argparse
import collections
import heapq
import json

import regex

# Llama-3's split: contractions, words with one leading mark, up to three digits, punctuation, line ends, white space.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ["<|begin_text|>", "<|end_text|>", "<|pad|>", "<|begin_header|>", "<|end_header|>", "<|end_turn|>"]


def byte_alphabet():
    """GPT-2's table: each byte as one printable character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(printable))
    return table


ALPHABET = byte_alphabet()


def join_pair(pieces, left, right):
    joined, i = [], 0
    while i < len(pieces):
        if i + 1 < len(pieces) and pieces[i] == left and pieces[i + 1] == right:
            joined.append(left + right)
            i += 2
        else:
            joined.append(pieces[i])
            i += 1
    return joined


def train(texts, vocab_size):
    """The tokenizer.json object for vocab_size ids: 256 bytes, merges, then SPECIALS."""
    pattern, counts = regex.compile(SPLIT), collections.Counter()
    for text in texts:
        counts.update(pattern.findall(text))
    words = [[ALPHABET[b] for b in word.encode()] for word in counts]
    weight = list(counts.values())
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += weight[i]
            where[pair].add(i)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    pieces, merges = sorted(ALPHABET.values(), key=ord), []
    while len(pieces) + len(SPECIALS) < vocab_size:
        count, pair = heapq.heappop(heap)
        if pairs[pair] != -count:  # stale: the count changed since it was pushed
            continue
        merges.append(pair)
        pieces.append("".join(pair))
        touched = set()
        for i in list(where[pair]):
            for old in zip(words[i], words[i][1:]):
                pairs[old] -= weight[i]
                touched.add(old)
            words[i] = join_pair(words[i], *pair)
            for new in zip(words[i], words[i][1:]):
                pairs[new] += weight[i]
                where[new].add(i)
                touched.add(new)
        for changed in touched:
            if pairs[changed] > 0:
                heapq.heappush(heap, (-pairs[changed], changed))
    return document(pieces, merges)


def document(pieces, merges):
    added = [{"id": len(pieces) + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, text in enumerate(SPECIALS)]
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, to_bytes]}, "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {piece: i for i, piece in enumerate(pieces)},
                  "merges": [f"{a} {b}" for a, b in merges]}}


class ByteLevelBpe:
    """Encodes with a trained tokenizer.json. Words are cached, so a corpus costs little more than its vocabulary."""

    def __init__(self, path):
        data = json.load(open(path, encoding="utf-8"))
        self.vocab = data["model"]["vocab"]
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(data["model"]["merges"])}
        special = {t["content"]: t["id"] for t in data["added_tokens"]}
        self.begin, self.end = special["<|begin_text|>"], special["<|end_text|>"]
        self.size = len(self.vocab) + len(special)
        self._pattern, self._cache = regex.compile(SPLIT), {}

    def _word(self, word):
        ids = self._cache.get(word)
        if ids is None:
            pieces = [ALPHABET[b] for b in word.encode()]
            while len(pieces) > 1:
                best = min(zip(pieces, pieces[1:]), key=lambda pair: self.rank.get(pair, 1 << 30))
                if best not in self.rank:
                    break
                pieces = join_pair(pieces, *best)
            ids = self._cache[word] = [self.vocab[p] for p in pieces]
        return ids

    def encode(self, text):
        return [i for word in self._pattern.findall(text) for i in self._word(word)]


def run(train, description, out):
    """The command line of a tokenizer's training: train(blocks of text, vocabulary size) gives the object to write."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--out", default=out)
    args = parser.parse_args()
    blocks = []
    for path in args.corpus:
        text = open(path, encoding="utf-8").read()
        blocks += [text[i:i + 60000] for i in range(0, len(text), 240000)]
    json.dump(train(blocks, args.vocab), open(args.out, "w", encoding="utf-8"), ensure_ascii=False)


if __name__ == "__main__":
    run(train, __doc__, "tokenizer.json")
