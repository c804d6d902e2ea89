from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mtscale_tui.chart import Line, Options, mark, render, smooth, style


def drawn(lines: Sequence[Line], width: int = 40, height: int = 9, options: Options | None = None) -> list[str]:
    return [line.plain.rstrip() for line in render(lines, width, height, options or Options())]


def dots(chart: Sequence[str]) -> list[list[bool]]:
    """The dots of the plot, row by row from above."""
    rows = [line.partition("│")[2] for line in chart if "│" in line]
    width = max(map(len, rows))
    bits = [(0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80)]
    found = []
    for row in rows:
        codes = [ord(character) - 0x2800 if 0x2800 <= ord(character) < 0x2900 else 0 for character in row.ljust(width)]
        found += [[bool(code & bit) for code in codes for bit in pair] for pair in bits]
    return found


def test_a_line_goes_from_one_corner_to_the_other_and_the_axes_tell_where() -> None:
    assert drawn([Line("score", [0, 50, 100], [0.0, 0.5, 1.0])]) == [
        "a ──── score 1",
        "1.0 │                            ⢀⣀⡤⠴⠒a",
        "    │                      ⣀⣠⠤⠖⠚⠉⠉",
        "0.5 │               ⢀⣀⡤⠴⠒⠋⠉⠁",
        "    │         ⢀⣀⡤⠴⠒⠋⠉",
        "    │   ⢀⣀⡤⠴⠒⠋⠉",
        "0.0 │⠴⠒⠋⠉",
        "    └┴───────────────┴───────────────┴",
        "     0              50              100",
    ]


def test_spikes_survive_when_many_values_share_a_column() -> None:
    values = [0.0] * 10_000
    values[6_000] = 1.0
    values[3_000] = -1.0
    found = dots(drawn([Line("loss", range(10_000), values)], 60, 20))
    columns = [column for column in zip(*found, strict=True) if sum(column) > len(found) * 0.4]
    assert len(columns) == 2


def test_a_steep_line_has_no_holes() -> None:
    found = dots(drawn([Line("loss", [0, 1, 2], [0.0, 1.0, 0.0])], 30, 20))
    filled = [sum(row) > 0 for row in found]
    assert all(filled[filled.index(True) : len(filled) - filled[::-1].index(True)])


def test_gaps_stay_open() -> None:
    chart = drawn([Line("x", range(100), [0.5] * 40 + [math.nan] * 20 + [0.5] * 40)], 60, 8)
    assert chart[3] == "0.50 │" + "⠤" * 21 + " " * 10 + "⠤" * 21 + "a"
    for hole in (math.inf, -math.inf):
        assert drawn([Line("x", range(3), [1.0, hole, 2.0])]) == drawn([Line("x", range(3), [1.0, math.nan, 2.0])])


def test_a_value_between_gaps_is_seen_in_every_pattern() -> None:
    for number in range(6):
        for place in range(2, 98):
            values = [math.nan] * 100
            values[0] = values[place] = 0.5
            empty = [Line("", [], [])] * number
            assert sum(map(sum, dots(drawn([*empty, Line("", range(100), values)], 60, 12)))) == 2


def test_values_that_are_not_finite_do_not_set_the_range() -> None:
    chart = drawn([Line("x", range(4), [0.2, math.inf, 0.4, -math.inf])])
    assert [line.partition("│")[0].strip() for line in chart if "│" in line] == ["0.4", "", "0.3", "", "", "0.2"]


def test_a_log_scale_has_its_powers_and_leaves_out_what_is_not_above_zero() -> None:
    chart = drawn([Line("x", range(4), [0.001, 0.0, -1.0, 1000.0])], 40, 16, Options(log=True))
    assert [line.partition("│")[0].strip() for line in chart if "│" in line and line[0] != "│"][2::4] == [
        "100",
        "1",
        "0.01",
    ]
    assert sum(map(sum, dots(chart))) == 2
    assert drawn([Line("x", [1], [-1.0])], options=Options(log=True))[0] == "no values above zero"


def test_series_differ_by_letter_and_pattern_not_only_by_colour() -> None:
    lines = [Line(name, range(100), [level] * 100) for level, name in enumerate("uvwxyz")]
    chart = drawn(lines, 60, 30)
    patterns = {tuple(row) for row in dots(chart) if any(row)}
    assert len(patterns) == 6
    assert [line.rstrip()[-1] for line in chart if "│" in line and line.rstrip()[-1].isalpha()] == list("fedcba")
    assert len({style(number) for number in range(6)}) == 6
    assert mark(0) + mark(25) + mark(26) == "aza"


def test_the_cursor_reads_the_values_beside_it() -> None:
    lines = [Line("x", [0, 10, 20], [1.0, 2.0, 3.0]), Line("y", [0, 20], [7.0, 9.0])]
    chart = drawn(lines, 60, 10, Options(cursor=0.55))
    assert chart[0] == "at 11  a ──── x 2  b ──── y 9"
    assert sum("┊" in line for line in chart) >= 5
    assert drawn(lines, 60, 10)[0] == "a ──── x 3  b ──── y 9"


def test_time_is_told_in_minutes_and_hours() -> None:
    axis = drawn([Line("x", [0, 3600], [1.0, 2.0])], 60, 8, Options(time=True))[-1]
    assert axis.split() == ["0s", "30m00", "1h00"]


def test_smoothing_is_the_exponential_mean_without_bias() -> None:
    weight, values = 0.9, [3.0, 5.0, math.nan, 4.0]
    smoothed = smooth(values, weight)
    weights = [weight**2, weight, 1.0]
    expected = sum(w * v for w, v in zip(weights, [3.0, 5.0, 4.0], strict=True)) / sum(weights)
    assert smoothed[0] == pytest.approx(3.0)
    assert math.isnan(smoothed[2])
    assert smoothed[3] == pytest.approx(expected)
    assert smooth(values[:2], 0.0) == values[:2]


def test_names_are_no_markup() -> None:
    assert "[red]x[/nope]" in drawn([Line("[red]x[/nope]", [0, 1], [0.0, 1.0])])[0]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.lists(st.tuples(st.floats(), st.floats()), max_size=12), max_size=8),
    st.integers(-1, 50),
    st.integers(-1, 20),
    st.builds(
        Options,
        smoothing=st.sampled_from([0.0, 0.6, 0.98]),
        log=st.booleans(),
        time=st.booleans(),
        cursor=st.none() | st.floats(0, 1),
    ),
)
def test_any_input_fills_exactly_its_place(
    series: list[list[tuple[float, float]]], width: int, height: int, options: Options
) -> None:
    lines = [Line("name " * number, [x for x, _ in one], [y for _, y in one]) for number, one in enumerate(series)]
    chart = render(lines, width, height, options)
    assert len(chart) == (max(0, height) if width > 0 else 0)
    assert all(line.cell_len == width for line in chart)


@pytest.mark.parametrize("values", [[], [0.5], [0.5] * 10, [1e300, -1e300], [5e-324, 0.0], [math.nan] * 3])
def test_odd_series_are_drawn_or_said_to_be_empty(values: list[float]) -> None:
    chart = drawn([Line("x", range(len(values)), values)], 50, 8)
    if any(map(math.isfinite, values)):
        assert any(any(row) for row in dots(chart)) or any(line.endswith("a") for line in chart)
    else:
        assert chart[0] == "no values yet"
