"""Text from outside in pages and terminals: names, ids and labels are data and never become markup or escape codes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~-])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}
STYLE = """
:root { color-scheme: light dark; }
body { font-family: sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
.error { color: light-dark(#c22, #f77); font-weight: bold; } .warning { color: light-dark(#a50, #fb5); }
details { font-size: .9rem; }
code { overflow-wrap: anywhere; } svg { display: block; margin: 1rem 0; max-width: 100%; }
"""


def printable(text: str) -> str:
    """The text with everything that a terminal may act on written out (``\\x1b``)."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def markdown(text: object) -> str:
    """The text for Markdown, with no mark-up of it or of HTML left."""
    return _MARKDOWN.sub(r"\\\1", escape(printable(str(text)), quote=False))


def html(text: object) -> str:
    """The text for HTML."""
    return escape(printable(str(text)))


def latex(text: object) -> str:
    """The text for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in printable(str(text)))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table; cells are text."""
    lines = [header, ["---"] * len(header)]
    cells = [[markdown(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(line)} |" for line in [*lines, *cells]]
