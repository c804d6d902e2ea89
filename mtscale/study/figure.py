"""Figure 2: which task improves which when the two are trained together, as a graph and as a matrix of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtscale import names
from mtscale.study import drawing
from mtscale.study.differences import Adjusted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import FancyBboxPatch

    # A place and the box that is drawn there.
    End = tuple[tuple[float, float], FancyBboxPatch]

RULE = (
    "An edge from s to t shows what training with s does to the test score of t, in points against t trained alone: "
    "green and solid where the interval, adjusted for all edges of the figure, lies above 0; red and dashed where it "
    "lies below; grey and dotted else, and always where fewer than 10 clusters were tested."
)
_COLOURS = {"gain": "#1a7f37", "loss": "#c22222", "unclear": "#777777"}
# No colour is the only signal.
_LINES = {"gain": "solid", "loss": "dashed", "unclear": "dotted"}
_RADIUS = 1.0
# How far an arc's middle lies beside the straight line, as a part of its length, and its label from there.
_BEND, _BESIDE = 0.09, 0.16
# A box has its size once its text is drawn, and texts are drawn at 3.
_AFTER_BOXES = 4


@dataclass(frozen=True)
class Relations:
    """The gains of a domain's directed edges, {(source, target): gain}; None where runs are missing."""

    domain: str
    tasks: tuple[str, ...]
    gains: Mapping[tuple[str, str], Adjusted | None]


def draw_graphs(groups: Sequence[Relations], path: Path, protocol: str) -> None:
    """Draw the graphs side by side, a PNG or SVG by the name's end; what is optimistic says so.

    Raises:
        OSError: ``path`` cannot be written.
    """
    # The figure class draws with Agg or as SVG, whatever display there is.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(groups), 5.2), layout="constrained")
    for number, group in enumerate(groups, start=1):
        axes = figure.add_subplot(1, len(groups), number)
        _draw(axes, group)
    if names.chosen_on(protocol) == "test":
        figure.suptitle(names.OPTIMISTIC, size=10)
    drawing.save(figure, path)


def _draw(axes: Axes, group: Relations) -> None:
    places = _places(group.tasks)
    boxes = {task: _draw_task(axes, task, place) for task, place in places.items()}
    for (source, target), gain in group.gains.items():
        if gain is None:
            continue
        start, end = places[source], places[target]
        _draw_arrow(axes, (start, boxes[source]), (end, boxes[target]), gain)
        x, y = _label_place(start, end)
        number = f"{100 * gain.difference.difference:+.1f}".replace("-", "\N{MINUS SIGN}")
        axes.text(x, y, number, color=_COLOURS[gain.verdict], ha="center", va="center", size=10)
    axes.set_title(group.domain, parse_math=False)
    limit = _RADIUS + 0.4
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _draw_task(axes: Axes, task: str, place: tuple[float, float]) -> FancyBboxPatch:
    drawn = axes.text(
        *place, task, ha="center", va="center", size=10, parse_math=False, bbox={"boxstyle": "round", "fc": "white"}
    )
    box = drawn.get_bbox_patch()
    assert box is not None
    return box


def _draw_arrow(axes: Axes, source: End, target: End, gain: Adjusted) -> None:
    """An arc from box to box in its style, and on it a head alone: a head drawn with the line would be dotted too."""
    from matplotlib.patches import FancyArrowPatch

    (start, left), (end, reached) = source, target
    for shape, width in (("-", 1.8), ("-|>", 0.0)):
        arrow = FancyArrowPatch(
            start,
            end,
            arrowstyle=shape,
            connectionstyle=f"arc3,rad={2 * _BEND}",
            patchA=left,
            patchB=reached,
            shrinkA=2,
            shrinkB=2,
            mutation_scale=18,
            color=_COLOURS[gain.verdict],
            linestyle=_LINES[gain.verdict],
            linewidth=width,
            zorder=_AFTER_BOXES,
        )
        axes.add_patch(arrow)


def _places(tasks: Sequence[str]) -> dict[str, tuple[float, float]]:
    """On a circle, the first at the top."""
    turns = [math.pi / 2 - 2 * math.pi * number / len(tasks) for number in range(len(tasks))]
    return {task: (_RADIUS * math.cos(turn), _RADIUS * math.sin(turn)) for task, turn in zip(tasks, turns, strict=True)}


def _label_place(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """Beside the middle of the arc, on its outer side, where the opposite edge's label is not."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    out = _BEND + _BESIDE / math.hypot(dx, dy)
    return (start[0] + end[0]) / 2 + out * dy, (start[1] + end[1]) / 2 - out * dx
