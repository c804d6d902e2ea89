"""What a check says: findings, which carry ids, counts and labels and never a corpus' text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is.

    ERROR: a split cannot be used. WARNING: a score would mean something else than it seems to. NOTE: worth a look.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in a split of a task.

    ``count`` is the number of what ``what`` names first; ``ids`` says which they are, where that can be said.
    """

    severity: Severity
    check: str
    task: str
    split: str
    count: int
    what: str
    ids: tuple[str, ...] = ()


def in_order(findings: list[Finding]) -> list[Finding]:
    """The findings, errors first, otherwise in the order in which they were found."""
    return sorted(findings, key=lambda finding: list(Severity).index(finding.severity))
