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
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html(title)}</title><style>{STYLE}{_STYLE}</style></head>"
        f"<body>{''.join(map(_html, blocks))}</body></html>\n"
    )


_STYLE = """
body { line-height: 1.45; } p { max-width: 50rem; }
.wide { overflow-x: auto; margin: 1rem 0; } table { border-collapse: separate; border-spacing: 0; }
caption { text-align: left; font-weight: bold; padding: .4rem 0; }
thead th { border-bottom: 1px solid; vertical-align: bottom; } tbody tr + tr > * { border-top: 1px solid #8884; }
tbody th { font-weight: normal; position: sticky; left: 0; background: Canvas; }
.numbers td, .numbers th { white-space: nowrap; } .numbers td, .numbers thead th + th { text-align: right; }
.gain b { color: light-dark(#1a7f37, #4ac26b); } .loss b { color: light-dark(#c22222, #ff7b72); }
td small { display: block; opacity: .8; }
figure { margin: 1rem 0; overflow-x: auto; }
figure svg { background: #fff; height: auto; min-width: 36rem; } figcaption { font-size: .9rem; max-width: 50rem; }
@media print { .wide, figure { overflow: visible; } }
pre { overflow-x: auto; font-size: .85rem; } summary { font-weight: bold; cursor: pointer; }
"""


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html(text)}</p>"
        case Grid():
            return _html_grid(block)
        case Picture(caption, _, svg):
            # An XML declaration and a document type have no place inside a page.
            return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{html(caption)}</figcaption></figure>"
        case Lines(lines):
            return f"<pre>{html_lines(lines)}</pre>"


def _html_grid(grid: Grid) -> str:
    """Wider than the screen, a table scrolls by itself; a folded one opens by a click, as on paper it is whole."""
    head = "".join(f"<th>{html(name)}</th>" for name in grid.header)
    body = "".join(f"<tr><th>{html(row[0])}</th>{''.join(map(_html_cell, row[1:]))}</tr>" for row in grid.rows)
    caption = "" if grid.folded else f"<caption>{html(grid.caption)}</caption>"
    kind = "words" if grid.words else "numbers"
    table = f'<table class="{kind}">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    table = f'<div class="wide">{table}</div>'
    return f"<details><summary>{html(grid.caption)}</summary>{table}</details>" if grid.folded else table


def _html_cell(cell: str) -> str:
    if isinstance(cell, Verdict):
        told = f"<b>{html(cell.number)}</b> {html(cell.kind)}<small>{html(cell.detail)}</small>"
        return f'<td class="{html(cell.kind)}">{told}</td>'
    return f"<td>{html(cell)}</td>"


def html_lines(lines: Sequence[str]) -> str:
    """Lines for ``<pre>``."""
    return "\n".join(map(html, lines))


def as_latex(grids: Sequence[Grid]) -> str:
    """The tables for a paper; a table too wide for its line is made smaller."""
    needs = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.\n\n"
    return needs + "\n\n".join(map(_latex, grids)) + "\n"


def _latex(grid: Grid) -> str:
    columns = "l" + "r" * (len(grid.header) - 1)
    rows = [" & ".join(_MINUS.sub("$-$", latex(cell)) for cell in row) + r" \\" for row in grid.rows]
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
