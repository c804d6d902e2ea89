"""Learning curves: the score on the split that chooses, epoch by epoch, of each task under each kind of training."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path

from mtscale import names
from mtscale.run_summary import read_scores
from mtscale.runs import RunDirectory, is_finished
from mtscale.study import drawing
from mtscale.study.document import Block, Heading, Picture
from mtscale.study.plan import Plan

COLUMNS = 2
# Distinguishable without colour: no two have line and marker in common.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377")
LINES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "d", "x")

Curves = Mapping[str, Mapping[str, Mapping[int, float]]]


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


def read(plan: Plan, runs: Path, protocol: str) -> dict[str, dict[str, dict[int, float]]]:
    """By task and training, the mean score over seeds of each epoch under a protocol."""
    split = names.chosen_on(protocol)
    scores: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for unit in plan.units:
        if (
            unit.recipe.protocol != protocol
            or unit.kind not in {"single", "refined"}
            or not is_finished(runs / unit.name)
        ):
            continue
        series = read_scores(RunDirectory(runs / unit.name))
        called = f"{'alone' if unit.kind == 'single' else unit.recipe.name.removeprefix('refined-')}, {unit.encoder}"
        for task in unit.tasks:
            values = series.get(names.metric(split, task, names.SCORE))
            for epoch, value in zip(values.epochs, values.values, strict=True) if values else ():
                scores[task, called][epoch].append(value)
    found: dict[str, dict[str, dict[int, float]]] = {}
    for (task, called), by_epoch in scores.items():
        found.setdefault(task, {})[called] = {epoch: statistics.fmean(of) for epoch, of in sorted(by_epoch.items())}
    return found


def draw(found: Curves, unit: str, path: Path) -> None:
    """Draw a small chart for each task, as SVG.

    Raises:
        OSError: ``path`` cannot be written.
    """
    from matplotlib.figure import Figure

    rows = ceil(len(found) / COLUMNS)
    # A training looks the same in every chart.
    places = {
        called: place for place, called in enumerate(dict.fromkeys(name for one in found.values() for name in one))
    }
    figure = Figure(figsize=(12, 2.8 * rows), layout="constrained")
    for number, (task, lines) in enumerate(found.items(), start=1):
        axes = figure.add_subplot(rows, COLUMNS, number)
        for called, by_epoch in lines.items():
            line, mark = LINES[places[called] % len(LINES)], MARKERS[places[called] % len(MARKERS)]
            colour = COLOURS[places[called] % len(COLOURS)]
            style = {"color": colour, "linestyle": line, "marker": mark, "markersize": 4, "label": called}
            axes.plot(list(by_epoch), list(by_epoch.values()), **style)  # type: ignore[arg-type]
        axes.set_title(task, size=10, parse_math=False)
        axes.set_xlabel("epoch", size=8)
        axes.set_ylabel(unit, size=8)
        axes.set_xticks(sorted({epoch for by_epoch in lines.values() for epoch in by_epoch}))
        axes.tick_params(labelsize=8)
        for text in axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False).get_texts():
            text.set_parse_math(False)
    drawing.save(figure, path)
