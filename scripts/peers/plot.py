"""Draws the nights of `bench_peers.py` as an SVG: wall time as bars, CPU time as marks.

python scripts/peers/plot.py PEERS_JSON SVG
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = {True: "#1b7f5a", False: "#8a93a3"}


def draw(found: dict[str, Any], file: Path) -> None:
    peers = [peer for peer in found["peers"] if peer["medians"]]
    mpl.rcParams |= {"svg.hashsalt": "peers", "svg.fonttype": "none", "font.size": 9}
    figure = Figure(figsize=(9, 0.5 + 0.42 * len(peers)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for night, axis in zip(("1", "2"), axes, strict=True):
        shown = [peer for peer in peers if night in peer["medians"]]
        names = [label(peer) for peer in peers]
        places = [peers.index(peer) for peer in shown]
        wall = [peer["medians"][night]["seconds"] for peer in shown]
        cpu = [peer["medians"][night]["cpu_seconds"] for peer in shown]
        colours = [COLOURS[peer["peer"].startswith("compactor")] for peer in shown]
        axis.barh(places, wall, color=colours, height=0.6, label="wall seconds")
        axis.plot(cpu, places, "|", color="black", markersize=11, markeredgewidth=1.8, label="CPU seconds")
        for place, seconds, used, peer in zip(places, wall, cpu, shown, strict=True):
            wrong = sum(peer["faults"][night].values())
            text = f"{seconds:,.1f} s, CPU {used:,.1f} s" + (f", {wrong:,} faults" if wrong else "")
            axis.text(max(seconds, used) * 1.08, place, text, va="center", fontsize=7.5)
        axis.set(yticks=range(len(peers)), yticklabels=names, xscale="log", xlabel="seconds")
        axis.set_xlim(left=min(*wall, *cpu) / 2, right=max(*wall, *cpu) * 30)
        axis.set_title(f"night {night}: {found['lines'][int(night) - 1]:,} lines")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right", fontsize=7, frameon=False)
    figure.savefig(file, format="svg", metadata={"Date": None})


def label(peer: dict[str, Any]) -> str:
    return f"{peer['title'].replace('`', '')} ({peer['tables']} tables)"


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
