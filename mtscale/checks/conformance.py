"""The conformance suite that the readers' own tests run (corpora/conformance.py), on the corpus at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mtscale.checks.findings import Finding, Severity
from mtscale.corpora import catalogue
from mtscale.corpora.conformance import conformance_faults
from mtscale.corpora.example import GoldValue, SplitName
from mtscale.tasks import Task


def check_conformance(task: Task, split: SplitName, data_root: Path | None) -> Iterator[Finding]:
    """A finding for each kind of fault in what the reader gives for a split.

    Raises:
        ConfigError, DataError: as ``catalogue.read_examples``.
    """
    gold: dict[str, GoldValue] = dict(catalogue.read_gold(task, split, data_root))
    ids: dict[str, list[str]] = {}
    for fault in conformance_faults(task, catalogue.read_examples(task, split, data_root), gold):
        ids.setdefault(fault.what, []).append(fault.id)
    for what, places in ids.items():
        yield Finding(Severity.ERROR, "conformance", task.name, split, len(places), what, tuple(places))
