#!/usr/bin/env python3
"""Draws the scaling rows of `plumb bench MODEL --scaling --json`: time against depth, context and batch.

usage: plot_scaling.py FIGURES.json OUT.svg        needs gnuplot
"""
import json
import pathlib
import re
import subprocess
import sys

PANELS = {"depth": ("recurrences", "ms a token"), "context": ("tokens held (r=8)", "ms a token"), "batch": ("sequences at once (r=8)", "ms a token of each")}


def main(figures, out):
    rows = json.loads(pathlib.Path(figures).read_text())["rows"]
    script = [f'set terminal svg size 1080,340 background "white"; set output "{out}"',
              "set multiplot layout 1,3; set key top left; set grid; set logscale x 2; set yrange [0:*]"]
    for panel, (x_title, y_title) in PANELS.items():
        points = {}
        for row in rows:
            found = re.fullmatch(rf"scaling_{panel}_(\d+)_(\w+)", row["name"])
            if found:
                points.setdefault(found[2], []).append((int(found[1]), row["value"]))
        if not points:
            sys.exit(f"{figures}: no rows scaling_{panel}_*; expected the output of plumb bench --scaling --json")
        for dtype, pairs in points.items():
            block = f"${panel}_{dtype}"
            script += [f"{block} << EOD", *(f"{x} {y}" for x, y in pairs), "EOD"]
        # Depth on straight axes: a line is the claim.
        script.append("unset logscale x" if panel == "depth" else "set logscale x 2")
        script.append(f'set xlabel "{x_title}"; set ylabel "{y_title}"')
        script.append("plot " + ", ".join(f'${panel}_{dtype} with linespoints pt 7 title "{dtype}"' for dtype in points))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
