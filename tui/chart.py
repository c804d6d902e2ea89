"""A chart of several series in braille, as lines of text: the same input gives the same lines, anywhere.

A character has two columns and four rows of dots. Of the values that fall into one column of dots the lowest and the
highest are joined, so that spikes survive. Values that are not finite, or not above zero on a log scale, are gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import set_cell_size
from rich.text import Text

from .cells import duration, short

_BLANK = 0x2800
# The bit of a dot in its character, by its row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
# How a series is told from others besides by its colour: dots drawn, dots left out.
_PATTERNS = ((1, 0), (4, 2), (2, 2), (1, 2), (6, 1), (1, 4))
STYLES = ("cyan", "magenta", "yellow", "green", "blue", "white")
_MIN_WIDTH, _MIN_HEIGHT = 16, 4
_SPACE_ABOVE = 0.05
_LARGEST, _SMALLEST_RANGE = 1e300, 1e-300
_NAME_WIDTH = 28
_TIME_STEPS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    21600,
    43200,
    86400,
    172800,
    604800,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, where its values stand, the values."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Options:
    """How to draw. ``smoothing`` is the weight of the past, 0 for none; ``cursor`` a fraction of the width."""

    smoothing: float = 0.0
    log: bool = False
    time: bool = False
    cursor: float | None = None


@dataclass(frozen=True, slots=True)
class _Scale:
    """The range of an axis and its number of dots."""

    low: float
    high: float
    dots: int

    def dot(self, value: float) -> int:
        """The dot of a value; what lies outside stands at the edge."""
        place = round((value - self.low) / (self.high - self.low) * (self.dots - 1))
        return min(max(place, 0), self.dots - 1)


def mark(number: int) -> str:
    """The letter of a series, which stands where it ends and in the legend."""
    return chr(ord("a") + number % 26)


def style(number: int) -> str:
    """The colour of a series."""
    return STYLES[number % len(STYLES)]


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """The exponential mean, without the pull of its start towards zero; gaps stay gaps and are passed over."""
    if weight == 0:
        return list(values)
    total, share, smoothed = 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            total = weight * total + (1 - weight) * value
            share = weight * share + (1 - weight)
            value = total / share
        smoothed.append(value)
    return smoothed


def render(lines: Sequence[Line], width: int, height: int, options: Options = Options()) -> list[Text]:
    """The chart as ``height`` lines of ``width`` cells: legend, plot with its axes, and the values at the cursor."""
    if width <= 0 or height <= 0:
        return []
    if width < _MIN_WIDTH or height < _MIN_HEIGHT:
        return _fitted([Text("too small")], width, height)
    curves = [_prepared(line, options) for line in lines]
    drawn = [[(x, y) for x, y in zip(*curve, strict=True) if math.isfinite(y)] for curve in curves]
    points = [point for points in drawn for point in points]
    if not points:
        return _fitted([Text("no values above zero" if options.log and any(lines) else "no values yet")], width, height)
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    cursor = None if options.cursor is None else left + options.cursor * (right - left)
    legend = _legend(lines, drawn, width, max(1, height // 4), cursor, options)
    rows = height - len(legend) - 2
    y_scale = _Scale(*_widened(min(y for _, y in points), max(y for _, y in points), _SPACE_ABOVE), max(1, rows) * 4)
    labels = _y_labels(y_scale, rows, options.log)
    margin = max(map(len, labels), default=0) + 1
    columns = width - margin - 3
    if rows < 1 or columns < 4:
        return _fitted(legend, width, height)
    x_scale = _Scale(*_widened(left, right, 0.0), columns * 2)
    plot = _plot(curves, (x_scale, y_scale), columns, rows, None if cursor is None else x_scale.dot(cursor) // 2)
    above = [Text(f"{label:>{margin - 1}} │") + line for label, line in zip(labels, plot, strict=True)]
    return _fitted([*legend, *above, *_x_axis(x_scale, margin, columns, options.time)], width, height)


def _fitted(lines: Sequence[Text], width: int, height: int) -> list[Text]:
    fitted = [line.copy() for line in lines[:height]] + [Text() for _ in range(height - len(lines))]
    for line in fitted:
        line.truncate(width, pad=True)
    return fitted


def _prepared(line: Line, options: Options) -> tuple[list[float], list[float]]:
    """The places and heights to draw, with NaN for gaps."""
    values = smooth(line.y, options.smoothing)
    if options.log:
        values = [math.log10(value) if value > 0 else math.nan for value in values]
    places = [(x, y) for x, y in zip(line.x, values, strict=True) if math.isfinite(x)]
    return [_held(x) for x, _ in places], [_held(y) if math.isfinite(y) else math.nan for _, y in places]


def _held(value: float) -> float:
    """A number of which differences are numbers too."""
    return min(max(value, -_LARGEST), _LARGEST)


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
    """A range with something above and below, and never empty, however close its ends."""
    space = (high - low) * share
    if high - low <= max(abs(low), abs(high)) * 1e-12 or high - low < _SMALLEST_RANGE:
        space = max(abs(high) * 0.1, _SMALLEST_RANGE) if high else 1.0
    return low - space, high + space


def _legend(
    lines: Sequence[Line],
    drawn: Sequence[Sequence[tuple[float, float]]],
    width: int,
    most: int,
    cursor: float | None,
    options: Options,
) -> list[Text]:
    """The names with their marks and last values, or the values at the cursor, whose place comes first."""
    entries = []
    if cursor is not None:
        entries.append(Text(f"at {_x_label(cursor, options.time)}", style="bold"))
    for number, (line, points) in enumerate(zip(lines, drawn, strict=True)):
        shown = "-"
        if points:
            point = points[-1] if cursor is None else min(points, key=lambda point: abs(point[0] - cursor))
            shown = _y_label(point[1], options.log)
        sample = "".join("─" if _is_drawn(column, number) else " " for column in range(4))
        entries.append(Text(f"{mark(number)} {sample} {label(line.name, _NAME_WIDTH)} {shown}", style=style(number)))
    rows: list[Text] = []
    for entry in entries:
        if rows and rows[-1].cell_len + 2 + entry.cell_len <= width:
            rows[-1] = Text.assemble(rows[-1], "  ", entry)
        else:
            rows.append(entry)
    if len(rows) > most:
        rows = rows[:most]
        rows[-1].truncate(max(0, width - 2))
        rows[-1] = Text.assemble(rows[-1], " …")
    return rows


def _is_drawn(column: int, number: int) -> bool:
    drawn, left_out = _PATTERNS[number % len(_PATTERNS)]
    return column % (drawn + left_out) < drawn


def _y_label(value: float, log: bool) -> str:
    return short(_power(value) if log else value)


def _power(exponent: float) -> float:
    return math.pow(10.0, min(max(exponent, -307.0), 308.0))


def _x_label(value: float, time: bool) -> str:
    return duration(value) if time else short(value) if abs(value) >= 1e7 else f"{value:.0f}"


def _ticks(scale: _Scale, wanted: int, smallest: float = 0.0) -> list[tuple[float, str]]:
    """Round values within a range, about as many as wanted, with the decimals that tell them apart."""
    span = scale.high - scale.low
    rough = max(span / max(1, wanted), smallest)
    power = math.pow(10.0, math.floor(math.log10(rough)))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if multiple * power >= rough * 0.999)
    values = [n * step for n in range(math.ceil(scale.low / step), math.floor(scale.high / step) + 1)]
    decimals = max(0, -math.floor(math.log10(step)))
    plainly = decimals <= 5 and max(abs(scale.low), abs(scale.high)) < 1e7
    return [(value, f"{value + 0.0:.{decimals}f}" if plainly else short(value)) for value in values]


def _time_ticks(scale: _Scale, wanted: int) -> list[tuple[float, str]]:
    """The same for times: whole seconds, minutes, hours, days."""
    span = scale.high - scale.low
    step = next((one for one in _TIME_STEPS if one * max(1, wanted) >= span), None)
    if step is None:
        return _ticks(scale, wanted)
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    return [(n * step, duration(n * step)) for n in range(first, last + 1)]


def _y_labels(scale: _Scale, rows: int, log: bool) -> list[str]:
    """A label for each row of the plot; most are empty."""
    labels = [""] * rows
    for value, text in _ticks(scale, min(6, max(4, rows // 3))):
        labels[(scale.dots - 1 - scale.dot(value)) // 4] = short(_power(value)) if log else text
    return labels


def _x_axis(scale: _Scale, margin: int, columns: int, time: bool) -> list[Text]:
    """The axis and its labels, as many as stand apart."""
    wanted = max(1, columns // 14)
    axis, labels = ["─"] * columns, [" "] * (columns + 2)
    end = -1
    for value, text in _time_ticks(scale, wanted) if time else _ticks(scale, wanted, smallest=1.0):
        column = scale.dot(value) // 2
        start = min(max(0, column - len(text) // 2), columns + 2 - len(text))
        if start > end:
            labels[start : start + len(text)] = text
            end = start + len(text)
            axis[column] = "┴"
    space = " " * margin
    return [Text(f"{space}└{''.join(axis)}"), Text(f"{space} {''.join(labels)}")]


def _plot(
    curves: Sequence[tuple[list[float], list[float]]],
    scales: tuple[_Scale, _Scale],
    columns: int,
    rows: int,
    cursor: int | None,
) -> list[Text]:
    """The plot's characters. Where series cross, the later one gives the colour."""
    dots = [[0] * columns for _ in range(rows)]
    styles = [[""] * columns for _ in range(rows)]
    ends: dict[tuple[int, int], tuple[str, str]] = {}
    for number, (xs, ys) in enumerate(curves):
        last = None
        for column, low, high, always in _strokes(xs, ys, scales):
            if always or _is_drawn(column, number):
                for dot in range(low, high + 1):
                    row, below = divmod(scales[1].dots - 1 - dot, 4)
                    dots[row][column // 2] |= _DOTS[below][column % 2]
                    styles[row][column // 2] = style(number)
            last = ((scales[1].dots - 1 - (low + high) // 2) // 4, column // 2 + 1)
        if last is not None:
            _put_mark(ends, last, (mark(number), f"bold {style(number)}"), (rows, columns + 2))
    shown = []
    for row in range(rows):
        cells = []
        for column in range(columns + 2):
            cell = (" ", "")
            if column < columns and dots[row][column]:
                cell = (chr(_BLANK + dots[row][column]), styles[row][column])
            elif column == cursor:
                cell = ("┊", "bold")
            cells.append(ends.get((row, column), cell))
        pieces = groupby(cells, key=lambda cell: cell[1])
        shown.append(Text.assemble(*(("".join(text for text, _ in group), look) for look, group in pieces)))
    return shown


def _put_mark(
    ends: dict[tuple[int, int], tuple[str, str]], place: tuple[int, int], cell: tuple[str, str], size: tuple[int, int]
) -> None:
    """Put a series' mark where it ends, or beside that where another's stands; where all is taken, nowhere."""
    row, column = place
    for across, down in ((0, 0), (1, 0), (0, -1), (0, 1), (1, -1), (1, 1)):
        beside = row + down, column + across
        if beside not in ends and 0 <= beside[0] < size[0] and beside[1] < size[1]:
            ends[beside] = cell
            return


def _strokes(
    xs: Sequence[float], ys: Sequence[float], scales: tuple[_Scale, _Scale]
) -> Iterator[tuple[int, int, int, bool]]:
    """The columns of dots of a series with their lowest and highest dot; neighbours are joined, but for gaps.

    The last is true of a column that must be drawn whatever the pattern: it stands alone, or a spike is in it.
    """
    across, up = scales
    lows, highs = [up.dots] * across.dots, [-1] * across.dots
    alone = set()
    before: tuple[int, int] | None = None
    for x, y in zip(xs, ys, strict=True):
        if y != y:
            before = None
            continue
        here = across.dot(x), up.dot(y)
        if before is None:
            alone.add(here[0])
        elif before[0] != here[0]:
            alone.discard(before[0])
            (x0, y0), (x1, y1) = sorted([before, here])
            for column in range(x0, x1 + 1):
                # Where the line enters and leaves the column, so that a steep one has no holes.
                for edge in (column - 0.5, column + 0.5):
                    dot = round(y0 + (y1 - y0) * min(max((edge - x0) / (x1 - x0), 0.0), 1.0))
                    lows[column], highs[column] = min(lows[column], dot), max(highs[column], dot)
        column, dot = here
        if dot < lows[column]:
            lows[column] = dot
        if dot > highs[column]:
            highs[column] = dot
        before = here
    for column, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if high >= 0:
            yield column, low, high, column in alone or high - low > 1


def label(name: str, width: int) -> str:
    """A name cut to a width, where it is longer."""
    return name if len(name) <= width else set_cell_size(name, width - 1).rstrip() + "…"
