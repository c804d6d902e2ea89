"""Learning curves: the score on the split that chooses, epoch by epoch, of each task under each kind of training."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from mtscale import names
from mtscale.run_summary import read_scores
from mtscale.runs import RunDirectory, is_finished
from mtscale.study import drawing
from mtscale.study.document import Block, Heading, Picture
from mtscale.study.plan import Plan

COLUMNS, IN_LEGEND = 2, 3
# A colour and marker for what a task is trained with, a line for the encoder: no colour is needed to tell them apart.
COLOURS, MARKERS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#997700", "#333333"), ("o", "s", "^", "d", "x", "v")
LINES = ("-", "--", ":", "-.")

# By task and training (with what, from which encoder) the score of each epoch.
Training = tuple[str, str]
Curves = Mapping[str, Mapping[Training, Mapping[int, float]]]


def blocks(plan: Plan, runs: Path, out: Path) -> Iterator[Block]:
    """The section with its picture; nothing while no run is finished."""
    for protocol in plan.study.protocols:
        found = read(plan, runs, protocol)
        if not found:
            continue
        split = names.chosen_on(protocol)
        path = out / f"curves-{protocol}.svg"
        draw(found, f"{split} score", path)
        yield Heading(f"Learning curves, protocol {protocol}")
        caption = f"Score on {split} by epoch of refine, mean over seeds, of each task alone and trained with others"
        yield Picture(caption, path.name, path.read_text(encoding="utf-8"))


def read(plan: Plan, runs: Path, protocol: str) -> dict[str, dict[Training, dict[int, float]]]:
    """By task and training, the mean score over seeds of each epoch under a protocol."""
    split = names.chosen_on(protocol)
    scores: dict[tuple[str, Training], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for unit in plan.units:
        if (
            unit.recipe.protocol != protocol
            or unit.kind not in {"single", "refined"}
            or not is_finished(runs / unit.name)
        ):
            continue
        series = read_scores(RunDirectory(runs / unit.name))
        called = "alone" if unit.kind == "single" else f"with {unit.recipe.name.removeprefix('refined-')}", unit.encoder
        for task in unit.tasks:
            values = series.get(names.metric(split, task, names.SCORE))
            for epoch, value in zip(values.epochs, values.values, strict=True) if values else ():
                scores[task, called][epoch].append(value)
    found: dict[str, dict[Training, dict[int, float]]] = {}
    for (task, called), by_epoch in scores.items():
        found.setdefault(task, {})[called] = {epoch: statistics.fmean(of) for epoch, of in sorted(by_epoch.items())}
    return found


def draw(found: Curves, unit: str, path: Path) -> None:
    """Draw a small chart for each task, as SVG.

    Raises:
        OSError: ``path`` cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    rows = ceil(len(found) / COLUMNS)
    trainings = list(dict.fromkeys(training for one in found.values() for training in one))
    styles = dict(zip(trainings, _styles(trainings), strict=True))
    figure = Figure(
        figsize=(10, 2.8 * rows + 0.3 * ceil(len(trainings) / IN_LEGEND)),
        layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1),
    )
    shown = {}
    for number, (task, lines) in enumerate(found.items(), start=1):
        axes = figure.add_subplot(rows, COLUMNS, number)
        for training, by_epoch in lines.items():
            (shown[", ".join(training)],) = axes.plot(list(by_epoch), list(by_epoch.values()), **styles[training])
        axes.set_title(task, size=10, parse_math=False)
        axes.set_xlabel("epoch", size=8)
        axes.set_ylabel(unit, size=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    legend = figure.legend(
        shown.values(), shown, loc="outside lower center", ncols=IN_LEGEND, fontsize=9, frameon=False, handlelength=4
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    drawing.save(figure, path)


def _styles(trainings: Sequence[Training]) -> Iterator[dict[str, Any]]:
    """How each is drawn, the same in every chart."""
    kinds, encoders = (list(dict.fromkeys(one)) for one in zip(*trainings, strict=True))
    for kind, encoder in trainings:
        place, line = kinds.index(kind), encoders.index(encoder)
        yield {
            "color": COLOURS[place % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": LINES[line % len(LINES)],
            "markersize": 4,
        }
