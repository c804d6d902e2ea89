"""Pictures stored with a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CELL_INCHES = 0.8
DOTS_PER_INCH = 150


def confusion_figure(labels: Sequence[str], counts: Sequence[Sequence[int]], title: str, path: Path) -> None:
    """Draw a confusion matrix as a PNG: a row per gold label, a column per predicted one.

    The colour of a cell is its share of the row, the number in it the count.

    Raises:
        ValueError: ``counts`` is not square in the labels.
        OSError: ``path`` cannot be written.
    """
    if len(counts) != len(labels) or any(len(row) != len(labels) for row in counts):
        raise ValueError(f"expected counts of {len(labels)} x {len(labels)} labels, found rows {[*map(len, counts)]}")
    # The figure class draws with Agg, whatever display there is; pyplot would keep figures alive and choose a display.
    from matplotlib.figure import Figure

    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    side = CELL_INCHES * len(labels)
    figure = Figure(figsize=(side + 3.5, side + 2.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, label="share of the gold label", shrink=0.8)
    ticks = range(len(labels))
    # Labels and titles are data: without parse_math=False a "$" in them would be read as a formula.
    axes.set_xticks(ticks, labels, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(ticks, labels, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.set_title(title, parse_math=False)
    for row in ticks:
        for column in ticks:
            colour = "white" if shares[row][column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row][column]:,}", ha="center", va="center", color=colour)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")
