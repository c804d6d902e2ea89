"""A report as blocks, written as Markdown, as one HTML page that loads nothing, and its tables as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from mtscale.markup import STYLE, html, latex, markdown, markdown_table


@dataclass(frozen=True)
class Heading:
    """A heading; ``level`` 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


class Verdict(str):
    """A cell that says what a number means: the number with a word, and on the page a colour; then the detail."""

    number: str
    detail: str
    kind: str

    def __new__(cls, number: str, kind: str, detail: str) -> Self:
        """``kind`` is the word; it is also what the page colours the cell by."""
        made = super().__new__(cls, f"{number} {kind} {detail}")
        made.number, made.kind, made.detail = number, kind, detail
        return made


@dataclass(frozen=True)
class Grid:
    """A table of text; the first column is the head of its row. ``label`` is what LaTeX refers to.

    ``words``: cells are no numbers. ``folded``: the page shows it on request.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    label: str = ""
    words: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture: the name of its file beside the report, and its SVG for the page."""

    caption: str
    file: str
    svg: str


@dataclass(frozen=True)
class Lines:
    """Commands or versions, as they are."""

    lines: tuple[str, ...]


# A hyphen that stands for a minus.
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
# What the cells of a column of numbers begin with; a dash stands for one that is missing.
_NUMBER = re.compile(r"[+-]?\d|-($| /)|$")

Block = Heading | Paragraph | Grid | Picture | Lines


def as_markdown(blocks: Sequence[Block]) -> str:
    """The report in Markdown; pictures stand in files beside it."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {markdown(text)}"
        case Paragraph(text):
            return markdown(text)
        case Grid(caption, header, rows):
            return "\n".join([f"**{markdown(caption)}**", "", *markdown_table(list(map(markdown, header)), rows)])
        case Picture(caption, file, _):
            return f"![{markdown(caption)}]({file})\n\n{markdown(caption)}"
        case Lines(lines):
            return "\n".join(f"    {line}" for line in lines)


def as_html(blocks: Sequence[Block]) -> str:
    """The report as one HTML file that loads nothing."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    # Headings are called by their number: their texts may repeat, and come from outside.
    places = {number: block for number, block in enumerate(blocks) if isinstance(block, Heading) and block.level == 2}
    links = "".join(f'<li><a href="#part-{number}">{html(block.text)}</a></li>' for number, block in places.items())
    parts = [_html(block, f"part-{number}" if number in places else "") for number, block in enumerate(blocks)]
    if places:
        parts.insert(min(places), f"<nav><ul>{links}</ul></nav>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html(title)}</title><style>{STYLE}{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


_STYLE = """
body { line-height: 1.45; } p { max-width: 50rem; } h2 { margin-top: 2.5rem; } h3 { margin-top: 1.8rem; }
nav ul { columns: 20rem; column-gap: 1.5rem; padding-left: 1.2rem; } a { color: inherit; }
figure { margin: 1.2rem 0; } figcaption { max-width: 50rem; }
.wide { overflow-x: auto; margin: .4rem 0; } table { border-collapse: separate; border-spacing: 0; }
thead th { border-bottom: 1px solid; vertical-align: bottom; } tbody tr + tr > * { border-top: 1px solid #8884; }
tbody th { font-weight: normal; position: sticky; left: 0; background: Canvas; }
.short td, .short th { white-space: nowrap; } .words td:last-child:not(.number) { min-width: 14rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.gain b { color: light-dark(#1a7f37, #4ac26b); } .loss b { color: light-dark(#c22222, #ff7b72); }
td small { display: block; opacity: .8; }
figure:has(table) figcaption { font-weight: bold; }
svg { background: #fff; height: auto; min-width: 36rem; padding: .5rem; box-sizing: border-box; }
pre { overflow-x: auto; font-size: .85rem; } summary { font-weight: bold; cursor: pointer; }
@media print {
  .wide { overflow: visible; } svg { min-width: 0; } nav { display: none; }
  details::details-content { content-visibility: visible; }
  h2, h3, figcaption { break-after: avoid; } figure, tr, svg { break-inside: avoid; } table { font-size: .85rem; }
}
"""


def _html(block: Block, name: str) -> str:
    match block:
        case Heading(text, level):
            called = f' id="{name}"' if name else ""
            return f"<h{level}{called}>{html(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html(text)}</p>"
        case Grid():
            return _html_grid(block)
        case Picture(caption, _, svg):
            # An XML declaration and a document type have no place inside a page.
            drawn = f'<div class="wide">{svg[svg.index("<svg") :]}</div>'
            return f"<figure>{drawn}<figcaption>{html(caption)}</figcaption></figure>"
        case Lines(lines):
            return f"<pre>{html_lines(lines)}</pre>"


def _html_grid(grid: Grid) -> str:
    """Wider than the screen, a table scrolls by itself; a folded one opens by a click."""
    kinds = [' class="number"' if numeric else "" for numeric in numeric_columns(grid)]
    head = "".join(f"<th{kind}>{html(name)}</th>" for name, kind in zip(grid.header, kinds, strict=True))
    body = "".join(
        f'<tr><th scope="row">{html(row[0])}</th>{"".join(map(_html_cell, row[1:], kinds[1:]))}</tr>'
        for row in grid.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    table = f'<div class="wide {"words" if grid.words else "short"}">{table}</div>'
    if grid.folded:
        return f"<details><summary>{html(grid.caption)}</summary>{table}</details>"
    return f"<figure><figcaption>{html(grid.caption)}</figcaption>{table}</figure>"


def numeric_columns(grid: Grid) -> list[bool]:
    """Which columns hold numbers, whose digits stand under each other."""
    columns = zip(*grid.rows, strict=True) if grid.rows else [()] * len(grid.header)
    return [any(column) and all(_NUMBER.match(cell) for cell in column) for column in columns]


def _html_cell(cell: str, kind: str) -> str:
    if isinstance(cell, Verdict):
        told = f"<b>{_minus(cell.number)}</b> {html(cell.kind)}<small>{_minus(cell.detail)}</small>"
        return f'<td class="number {html(cell.kind)}">{told}</td>'
    return f"<td{kind}>{_minus(cell) if kind else html(cell)}</td>"


def _minus(number: str) -> str:
    return _MINUS.sub("\N{MINUS SIGN}", html(number))


def html_lines(lines: Sequence[str]) -> str:
    """Lines for ``<pre>``."""
    return "\n".join(map(html, lines))


def as_latex(grids: Sequence[Grid]) -> str:
    """The tables for a paper; a table too wide for its line is made smaller."""
    needs = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.\n\n"
    return needs + "\n\n".join(map(_latex, grids)) + "\n"


def _latex(grid: Grid) -> str:
    columns = "".join("r" if numeric else "l" for numeric in numeric_columns(grid))
    rows = [" & ".join(map(_latex_cell, row)) + r" \\" for row in grid.rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex(grid.caption)}}}",
            *([rf"\label{{tab:{grid.label}}}"] if grid.label else []),
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(latex, grid.header)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def _latex_cell(cell: str) -> str:
    """A verdict's detail stands small under it."""
    if isinstance(cell, Verdict):
        number, detail = (_latex_cell(str(part)) for part in (f"{cell.number} {cell.kind}", cell.detail))
        return rf"\shortstack[r]{{{number}\\{{\scriptsize {detail}}}}}"
    return _MINUS.sub("$-$", latex(cell))
