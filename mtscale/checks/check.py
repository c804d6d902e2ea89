"""All checks over all tasks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtscale.checks import conformance, documents, duplicates, labels, losses, tags
from mtscale.checks.facts import SplitFacts, read_facts
from mtscale.checks.findings import Finding, Severity, in_order
from mtscale.corpora.example import SPLITS, SplitName
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, ConfigError, DataError
from mtscale.inputs.encode import PieceVocabulary, TaskEncoder
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.tasks import Task

logger = logging.getLogger("mtscale")


@dataclass(frozen=True)
class Checked:
    """What a check found, errors first, and the facts of the splits that could be read."""

    target: str
    encoder: str
    max_pieces: int
    findings: tuple[Finding, ...]
    splits: tuple[SplitFacts, ...]

    def number(self, severity: Severity) -> int:
        """How many findings are of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """That of a data error if there is an error among the findings."""
        return EXIT_DATA if self.number(Severity.ERROR) else EXIT_FINISHED


@dataclass(frozen=True)
class Check:
    """What to check, and the encoder whose word pieces lengths are counted in."""

    target: str
    tasks: tuple[Task, ...]
    data_root: Path | None
    encoder: str
    max_pieces: int
    vocabulary: PieceVocabulary
    procedure: PaperSettings = CLEAN_PROCEDURE
    longest: int = 512

    def run(self) -> Checked:
        """Read every split of every task once and compare them. A split that cannot be read is one finding."""
        findings: list[Finding] = []
        splits: list[SplitFacts] = []
        for task in self.tasks:
            own: list[SplitFacts] = []
            for split in SPLITS:
                findings += self._read(task, split, own)
            findings += [*labels.check_labels(task, own), *labels.check_conflicts(task, own)]
            splits += own
        findings += [*documents.check_documents(splits), *duplicates.check_duplicates(splits)]
        return Checked(self.target, self.encoder, self.max_pieces, tuple(in_order(findings)), tuple(splits))

    def _read(self, task: Task, split: SplitName, own: list[SplitFacts]) -> Iterator[Finding]:
        try:
            facts = read_facts(task, split, self.data_root, self._encoder)
            faulty = list(conformance.check_conformance(task, split, self.data_root))
            faulty += tags.check_tags(task, split, self.data_root)
        except (ConfigError, DataError) as error:
            yield Finding(Severity.ERROR, "unreadable", task.name, split, 1, f"split that cannot be read: {error}")
            return
        own.append(facts)
        logger.info("%s %s: %d examples", task.name, split, facts.counts.examples)
        yield from faulty
        yield from losses.check_losses(facts, self.max_pieces)

    def _encoder(self, task: Task, split: SplitName) -> TaskEncoder:
        whole = self.longest if split == "test" else None
        # With labels for test too: the check counts them, and nothing of it reaches a model.
        return TaskEncoder(
            task, self.vocabulary, self.max_pieces, with_labels=True, procedure=self.procedure, whole=whole
        )
