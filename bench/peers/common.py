"""What the comparisons share: timing, plumb's own figures, the results file."""
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


def wall_ms(call):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def in_turns(peer_ms, plumb_ms, runs, warm_up=True):
    """Medians of both, measured alternately so that a disturbance falls on either. Each is a
    function that returns ms."""
    if warm_up:
        peer_ms(), plumb_ms()
    pairs = [(peer_ms(), plumb_ms()) for _ in range(runs)]
    return statistics.median(p for p, _ in pairs), statistics.median(o for _, o in pairs)


def ids(n, vocab, seed=0):
    """n token ids, the same everywhere."""
    return np.random.default_rng(seed).integers(0, vocab, n).tolist()


class Plumb:
    """The program under comparison, called as a user calls it; times are those it reports for the
    computation alone, without loading the model or writing files."""

    def __init__(self, binary, model, scratch, threads, extra=()):
        self.binary, self.model, self.scratch, self.threads, self.extra = str(binary), str(model), pathlib.Path(scratch), threads, list(extra)

    def _run(self, verb, *flags):
        command = [self.binary, verb, self.model, *map(str, flags), *self.extra, "--threads", str(self.threads), "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\nfailed: {done.stderr}")
        return json.loads(done.stdout)

    def logits(self, tokens, depths, dtype):
        """{depth: [n, V]} and the ms of the pass."""
        from safetensors.numpy import load_file

        out = self.scratch / "plumb.safetensors"
        said = self._run("forward", "--ids", ",".join(map(str, tokens)), "--num-steps", ",".join(map(str, depths)), "--dtype", dtype, "--out", out)
        tensors = load_file(out)
        return {d: tensors[f"logits.r{d}"][0] for d in depths}, said["elapsed_ms"]

    def forward_ms(self, tokens, depths, dtype):
        return self.logits(tokens, depths, dtype)[1]

    def generate(self, tokens, n, dtype, *flags):
        """The answer of plumb generate, greedy, never ending early."""
        return self._run("generate", "--ids", ",".join(map(str, tokens)), "--max-new-tokens", n, "--dtype", dtype, "--eos", "none", *flags)

    def decode_ms(self, tokens, n, dtype, *flags):
        """Mean ms of a token after the first."""
        stats = self.generate(tokens, n, dtype, *flags)["stats"]
        return (stats["elapsed_ms"] - stats["prefill_ms"]) / (n - 1)

    def prefill_ms(self, tokens, dtype, *flags):
        return self.generate(tokens, 1, dtype, *flags)["stats"]["prefill_ms"]

    def version(self):
        return subprocess.run([self.binary, "--version"], capture_output=True, text=True).stdout.strip()


def compare(ours, theirs):
    """How far two [n, V] logits are apart."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    worst = float(np.abs(ours - theirs).max())
    return {"max_abs": worst, "relative_to_std": worst / float(theirs.std()),
            "same_argmax": float((ours.argmax(-1) == theirs.argmax(-1)).mean())}


def require(condition, sentence):
    if not condition:
        sys.exit(f"answers do not agree, so nothing was timed: {sentence}")


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


class Report:
    """Rows of ratios, printed as they come and written at the end."""

    def __init__(self, peer, model, versions, threads):
        self.head = {"peer": peer, "model": model, "utc": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                     "host": platform.node(), "cpu": cpu_name(), "cores": os.cpu_count(), "threads": threads, "versions": versions}
        self.agreement, self.rows = {}, []
        print(f"{peer} on {model}: {versions}")

    def agrees(self, what, how):
        self.agreement[what] = how
        print(f"  agrees: {what}: {how}", flush=True)

    def row(self, what, dtype, times, target=None, runs=None):
        peer_ms, plumb_ms = times
        row = {"what": what, "dtype": dtype, "peer_ms": peer_ms, "plumb_ms": plumb_ms, "times_faster": peer_ms / plumb_ms,
               "target": target, "runs": runs, "utc": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}
        self.rows.append(row)
        wanted = "" if target is None else f"  (wanted {target} x)"
        print(f"  {what:<44} {dtype:<5} peer {peer_ms:10.1f} ms   plumb {plumb_ms:10.1f} ms   {row['times_faster']:7.2f} x{wanted}", flush=True)

    def write(self, path):
        """Rows that were not measured again stay, if the file is of the same host, peer and model."""
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            before = json.loads(path.read_text())
            if all(before.get(k) == self.head[k] for k in ("peer", "model", "host", "cpu", "threads", "versions")):
                fresh = {(row["what"], row["dtype"]) for row in self.rows}
                self.rows = [row for row in before["rows"] if (row["what"], row["dtype"]) not in fresh] + self.rows
                self.agreement = {**before["agreement"], **self.agreement}
        path.write_text(json.dumps({**self.head, "agreement": self.agreement, "rows": self.rows}, indent=1) + "\n")
        print(f"  written to {path}")
