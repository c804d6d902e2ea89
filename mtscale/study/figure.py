"""Figure 2: which task improves which when the two are trained together, as a graph and as a matrix of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtscale.study import drawing
from mtscale.study.differences import Adjusted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULE = (
    "An edge from s to t shows what training with s does to the test score of t, in points against t trained alone: "
    "green and solid where the interval, adjusted for all edges of the figure, lies above 0; red and dashed where it "
    "lies below; grey and dotted else."
)
_COLOURS = {"gain": "#1a7f37", "loss": "#c22222", "unclear": "#777777"}
# No colour is the only signal.
_LINES = {"gain": "solid", "loss": "dashed", "unclear": "dotted"}
_RADIUS, _NODE = 1.0, 0.17
_BEND = "arc3,rad=0.18"


@dataclass(frozen=True)
class Relations:
    """The gains of a domain's directed edges, {(source, target): gain}; None where runs are missing."""

    domain: str
    tasks: tuple[str, ...]
    gains: Mapping[tuple[str, str], Adjusted | None]


def draw_graphs(groups: Sequence[Relations], path: Path) -> None:
    """Draw the graphs side by side, a PNG or SVG by the name's end.

    Raises:
        OSError: ``path`` cannot be written.
    """
    # The figure class draws with Agg or as SVG, whatever display there is.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(groups), 5.2), layout="constrained")
    for number, group in enumerate(groups, start=1):
        axes = figure.add_subplot(1, len(groups), number)
        _draw(axes, group)
    drawing.save(figure, path)


def _draw(axes: Axes, group: Relations) -> None:
    places = _places(group.tasks)
    for (source, target), gain in group.gains.items():
        if gain is None:
            continue
        start, end = _shorten(places[source], places[target])
        _draw_arrow(axes, start, end, gain)
        x, y = _label_place(start, end)
        axes.text(
            x,
            y,
            f"{100 * gain.difference.difference:+.1f}",
            color=_COLOURS[gain.verdict],
            ha="center",
            va="center",
            size=10,
        )
    for task, (x, y) in places.items():
        axes.text(
            x, y, task, ha="center", va="center", size=10, parse_math=False, bbox={"boxstyle": "round", "fc": "white"}
        )
    axes.set_title(group.domain, parse_math=False)
    limit = _RADIUS + 0.4
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], gain: Adjusted) -> None:
    """A line in its style, and on it a head alone: a head drawn with the line would be dotted too."""
    for shape, width in (("-", 1.8), ("-|>", 0.0)):
        how = {"color": _COLOURS[gain.verdict], "mutation_scale": 18, "connectionstyle": _BEND, "shrinkA": 0}
        style = {"arrowstyle": shape, "linestyle": _LINES[gain.verdict], "linewidth": width, "shrinkB": 0}
        axes.annotate("", end, start, arrowprops=how | style)


def _places(tasks: Sequence[str]) -> dict[str, tuple[float, float]]:
    """On a circle, the first at the top."""
    turns = [math.pi / 2 - 2 * math.pi * number / len(tasks) for number in range(len(tasks))]
    return {task: (_RADIUS * math.cos(turn), _RADIUS * math.sin(turn)) for task, turn in zip(tasks, turns, strict=True)}


def _shorten(start: tuple[float, float], end: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The line between two boxes, without what lies under them."""
    length = math.dist(start, end)
    share = min(0.4, _NODE / length) if length else 0.0
    dx, dy = (end[0] - start[0]) * share, (end[1] - start[1]) * share
    return (start[0] + dx, start[1] + dy), (end[0] - dx, end[1] - dy)


def _label_place(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """Beside the middle of the arc, on its outer side, where the opposite edge's label is not."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    return (start[0] + end[0]) / 2 + 0.19 * dy, (start[1] + end[1]) / 2 - 0.19 * dx
