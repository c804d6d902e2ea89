"""A report as blocks, written as Markdown, as one HTML page that loads nothing, and its tables as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Grid:
    """A table of text; the first column is the head of its row. ``label`` is what LaTeX refers to."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    label: str = ""


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
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html(title)}</title>'
        f"<style>{STYLE}{_STYLE}</style></head><body>{''.join(map(_html, blocks))}</body></html>\n"
    )


_STYLE = """
caption { text-align: left; font-weight: bold; padding: .4rem 0; } table { margin: 1rem 0; }
td + td, th + th { text-align: right; } thead th { border-bottom: 1px solid; } figure { margin: 1rem 0; }
figure svg { background: #fff; height: auto; } pre { overflow-x: auto; font-size: .85rem; }
"""


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html(text)}</p>"
        case Grid(caption, header, rows):
            head = "".join(f"<th>{html(name)}</th>" for name in header)
            body = "".join(f"<tr>{''.join(f'<td>{html(cell)}</td>' for cell in row)}</tr>" for row in rows)
            return (
                f"<table><caption>{html(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            )
        case Picture(caption, _, svg):
            # An XML declaration and a document type have no place inside a page.
            return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{html(caption)}</figcaption></figure>"
        case Lines(lines):
            return f"<pre>{html_lines(lines)}</pre>"


def html_lines(lines: Sequence[str]) -> str:
    """Lines for ``<pre>``."""
    return "\n".join(map(html, lines))


def as_latex(grids: Sequence[Grid]) -> str:
    """The tables for a paper; they need the package booktabs."""
    return "\n\n".join(map(_latex, grids)) + "\n"


def _latex(grid: Grid) -> str:
    columns = "l" + "r" * (len(grid.header) - 1)
    rows = [" & ".join(map(latex, row)) + r" \\" for row in grid.rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex(grid.caption)}}}",
            *([rf"\label{{tab:{grid.label}}}"] if grid.label else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(latex, grid.header)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )
