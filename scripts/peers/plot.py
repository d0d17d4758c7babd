"""Draws the nights of `bench_peers.py` as an SVG: wall time as dots, CPU time as marks.

python scripts/peers/plot.py PEERS_JSON SVG
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

OURS, OTHERS, WRONG = "#1b7f5a", "#66707f", "#b3261e"


def draw(found: dict[str, Any], file: Path) -> None:
    peers = [peer for peer in found["peers"] if peer["medians"]]
    mpl.rcParams |= {"svg.hashsalt": "peers", "svg.fonttype": "none", "font.size": 9}
    figure = Figure(figsize=(9.5, 1.1 + 0.36 * len(peers)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for night, axis in zip(("1", "2"), axes, strict=True):
        everything = [0.5]
        for place, peer in enumerate(peers):
            if night not in peer["medians"]:
                continue
            colour = OURS if peer["peer"].startswith("compactor") else OTHERS
            wall, cpu = peer["medians"][night]["seconds"], peer["medians"][night]["cpu_seconds"]
            everything += [wall, cpu]
            axis.plot(wall, place, "o", color=colour, markersize=9, label="wall seconds")
            axis.plot(cpu, place, "|", color="black", markersize=12, markeredgewidth=1.8, label="CPU seconds")
            wrong = sum(peer["faults"][night].values())
            text = f"{wall:,.1f} s, CPU {cpu:,.1f} s" + (f", {wrong:,} faults" if wrong else "")
            axis.text(max(wall, cpu) * 1.25, place, text, va="center", fontsize=7.5, color=WRONG if wrong else "black")
        axis.set(yticks=range(len(peers)), yticklabels=[label(peer) for peer in peers], xscale="log")
        axis.set(xlabel="seconds, on a logarithmic scale", xlim=(min(everything), max(everything) * 40))
        axis.set_title(f"night {night}: {found['lines'][int(night) - 1]:,} lines")
        axis.grid(axis="x", color="#e3e6ea")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    marks, names = axes[0].get_legend_handles_labels()
    figure.legend(marks[:2], names[:2], loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(file, format="svg", metadata={"Date": None})


def label(peer: dict[str, Any]) -> str:
    return f"{peer['title'].replace('`', '')} ({peer['tables']} tables)"


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
