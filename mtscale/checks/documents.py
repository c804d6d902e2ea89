"""Documents by their ids: the same one in two splits of a task, or in the train of one task and the test of another.

A row of a table that names no document is none. Pairs are left to the comparison of texts: the document that they
name is often no more than a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mtscale.checks.facts import SplitFacts
from mtscale.checks.findings import Finding, Severity
from mtscale.corpora.example import SPLITS


def check_documents(splits: Sequence[SplitFacts]) -> Iterator[Finding]:
    """Shared ids; over tasks a warning only if the documents share a sentence, for ids may be equal by chance."""
    sentences = [_sentences(facts) for facts in splits]
    for place, one in enumerate(splits):
        for number, other in enumerate(splits):
            if SPLITS.index(other.split) >= SPLITS.index(one.split):
                continue
            own = one.task.name == other.task.name
            if own or other.split == "train":
                yield from _compare(one, other, sentences[place], sentences[number], own=own)


def _sentences(facts: SplitFacts) -> Mapping[str, set[bytes]]:
    """The sentences of each document, as hashes."""
    found: dict[str, set[bytes]] = {document.id: set() for document in facts.documents}
    for sentence in facts.sentences:
        if sentence.document in found:
            found[sentence.document].add(sentence.digest)
    return found


def _compare(
    one: SplitFacts, other: SplitFacts, mine: Mapping[str, set[bytes]], theirs: Mapping[str, set[bytes]], *, own: bool
) -> Iterator[Finding]:
    shared = [document for document in mine if document in theirs]
    if not shared:
        return
    alike = sum(not mine[document].isdisjoint(theirs[document]) for document in shared)
    carried = sum(document.examples for document in one.documents if document.id in set(shared))
    what = (
        f"document ids that {other.task.name} {other.split} has too, {alike} of them with a sentence in common; "
        f"they carry {carried} examples"
    )
    severity = Severity.WARNING if own or alike else Severity.NOTE
    yield Finding(severity, "documents", one.task.name, one.split, len(shared), what, tuple(shared))
