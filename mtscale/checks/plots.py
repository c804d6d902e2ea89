"""Bar charts as inline SVG: small, the same on every machine, and readable in light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#4477aa", "#ee6677", "#228833")
WIDTH, ROW, LABEL, GAP = 640, 14, 190, 8


def bars(title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """A chart of horizontal bars: for each group a bar of each series, with values from 0 to 1 shown in percent."""
    top = max((value for values in series.values() for value in values), default=0.0) or 1.0
    height = 24 + len(groups) * (len(series) * ROW + GAP) + 20
    parts = [f'<text x="0" y="14" font-weight="bold">{escape(title)}</text>']
    y = 24
    for number, group in enumerate(groups):
        middle = y + len(series) * ROW / 2 + 4
        parts.append(f'<text x="{LABEL - 8}" y="{middle:.0f}" text-anchor="end">{escape(group)}</text>')
        for colour, values in zip(COLOURS, series.values(), strict=False):
            width = (WIDTH - LABEL - 60) * values[number] / top
            parts.append(f'<rect x="{LABEL}" y="{y + 1}" width="{width:.1f}" height="{ROW - 2}" fill="{colour}"/>')
            parts.append(f'<text x="{LABEL + width + 4:.1f}" y="{y + 11}">{values[number]:.1%}</text>')
            y += ROW
        y += GAP
    for number, (colour, name) in enumerate(zip(COLOURS, series, strict=False)):
        x = LABEL + number * 90
        parts.append(f'<rect x="{x}" y="{y + 2}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="{y + 11}">{escape(name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'font-family="sans-serif" font-size="11" fill="currentColor">{"".join(parts)}</svg>'
    )
