"""The result of a check: a table for the terminal, JSON, and a report in Markdown and HTML.

Ids come from the files: on the terminal control characters are written out, in Markdown and HTML nothing of an id is
taken for markup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mtscale.checks import plots
from mtscale.checks.check import Checked
from mtscale.checks.facts import SplitFacts
from mtscale.checks.findings import Finding, Severity
from mtscale.errors import ConfigError
from mtscale.markup import STYLE, html, markdown, markdown_table, printable

# More ids of one finding than a reader of a report wants; the JSON has all.
MAX_IDS = 200
LENGTH_BINS = (0, 16, 32, 48, 64, 96, 128, 192, 256, 384, 513)

FINDINGS = ("severity", "check", "task", "split", "count", "what")
SPLITS = ("task", "split", "examples", "documents", "gold", "longest", "mean pieces", "labels")


def as_json(checked: Checked) -> dict[str, Any]:
    """Everything: the findings with all ids, and the counts of the splits."""
    return {
        "target": checked.target,
        "encoder": checked.encoder,
        "max_pieces": checked.max_pieces,
        **{f"{severity}s": checked.number(severity) for severity in Severity},
        "findings": [
            {**dict(zip(FINDINGS, _raw_row(finding), strict=True)), "ids": finding.ids} for finding in checked.findings
        ],
        "splits": [
            {
                **dict(zip(SPLITS[:-1], _split_row(facts)[:-1], strict=True)),
                "labels": dict(facts.labels.most_common()),
                "encoding": facts.counts.as_dict(),
            }
            for facts in checked.splits
        ],
    }


def as_text(checked: Checked) -> str:
    """The table of the findings, and a line that counts them."""
    rows = [[printable(str(cell)) for cell in _raw_row(finding)] for finding in checked.findings]
    lines = [*_table(FINDINGS, rows), ""] if rows else []
    return "\n".join([*lines, _summary(checked)])


def write(checked: Checked, folder: Path) -> None:
    """Write ``report.md`` and ``report.html``.

    Raises:
        ConfigError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(as_markdown(checked), encoding="utf-8")
        (folder / "report.html").write_text(as_html(checked), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write the report: {error.strerror}; name another folder") from None


def as_markdown(checked: Checked) -> str:
    """The report in Markdown."""
    lines = [f"# Check of {markdown(checked.target)}", "", markdown(_summary(checked)), "", "## Findings", ""]
    lines += markdown_table(FINDINGS, map(_raw_row, checked.findings))
    for number, finding in enumerate(checked.findings, start=1):
        if finding.ids:
            title = f"{number}. {finding.check}, {finding.task}, {finding.split}: {finding.count} {finding.what}"
            lines += ["", f"### {markdown(title)}", "", *(f"* {markdown(id_)}" for id_ in _shown(finding))]
    lines += ["", "## Splits", "", *markdown_table(SPLITS, map(_split_row, checked.splits))]
    return "\n".join(lines) + "\n"


def as_html(checked: Checked) -> str:
    """The report as one HTML file that loads nothing."""
    title = f"Check of {html(checked.target)}"
    parts = [f"<h1>{title}</h1><p>{html(_summary(checked))}</p><h2>Findings</h2>"]
    parts.append(_html_table(FINDINGS, [(finding.severity, _finding_cells(finding)) for finding in checked.findings]))
    parts.append("<h2>Splits</h2>")
    parts.append(_html_table(SPLITS, [("", list(map(html, _split_row(facts)))) for facts in checked.splits]))
    for task in dict.fromkeys(facts.task.name for facts in checked.splits):
        splits = [facts for facts in checked.splits if facts.task.name == task]
        parts.append(f"<h2>{html(task)}</h2>{_label_plot(splits)}{_length_plot(splits)}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _summary(checked: Checked) -> str:
    counts = ", ".join(f"{checked.number(severity)} {severity}s" for severity in Severity)
    return (
        f"{len(checked.splits)} splits read, lengths in pieces of the encoder {checked.encoder} "
        f"(at most {checked.max_pieces}): {counts}"
    )


def _raw_row(finding: Finding) -> list[str | int]:
    return [finding.severity.value, finding.check, finding.task, finding.split, finding.count, finding.what]


def _split_row(facts: SplitFacts) -> list[str | int | float]:
    labels = ", ".join(f"{label} {count}" for label, count in facts.labels.most_common())
    pieces = facts.pieces or [0]
    return [
        facts.task.name,
        facts.split,
        facts.counts.examples,
        len(facts.documents),
        facts.gold,
        max(pieces),
        round(float(np.mean(pieces)), 1),
        labels,
    ]


def _shown(finding: Finding) -> list[str]:
    rest = len(finding.ids) - MAX_IDS
    return [*finding.ids[:MAX_IDS], *([f"and {rest} more (--json has all)"] if rest > 0 else [])]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * len(name) for name in header], *rows]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _finding_cells(finding: Finding) -> list[str]:
    cells = list(map(html, _raw_row(finding)))
    if finding.ids:
        ids = "<br>".join(f"<code>{html(id_)}</code>" for id_ in _shown(finding))
        cells[-1] += f"<details><summary>{len(finding.ids)} ids</summary>{ids}</details>"
    return cells


def _html_table(header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join(
        f"<tr><td class={kind or 'none'}>{cells[0]}</td>{''.join(f'<td>{cell}</td>' for cell in cells[1:])}</tr>"
        for kind, cells in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _label_plot(splits: Sequence[SplitFacts]) -> str:
    labels = list(dict.fromkeys(label for facts in splits for label in sorted(facts.labels)))
    return _plot("labels", labels, splits, lambda facts: [facts.labels[label] for label in labels])


def _length_plot(splits: Sequence[SplitFacts]) -> str:
    longest = max((max(facts.pieces, default=0) for facts in splits), default=0)
    edges = [edge for edge, before in zip(LENGTH_BINS, (0, *LENGTH_BINS), strict=False) if before <= longest]
    names = [f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return _plot("length in pieces", names, splits, lambda facts: np.histogram(facts.pieces, edges)[0].tolist())


def _plot(
    title: str, names: Sequence[str], splits: Sequence[SplitFacts], count: Callable[[SplitFacts], Sequence[int]]
) -> str:
    """A chart of the shares of each split."""
    shares: dict[str, list[float]] = {}
    for facts in splits:
        counts = count(facts)
        shares[facts.split] = [value / max(1, sum(counts)) for value in counts]
    return plots.bars(title, list(map(printable, names)), shares)
