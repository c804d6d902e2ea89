"""One pass over a split: what all checks need of it, in hashes, counts, ids and labels, without its text."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mtscale.checks.passages import Passage, digest, joined, passage
from mtscale.checks.progress import with_progress
from mtscale.corpora import catalogue
from mtscale.corpora.example import Example, GoldValue, PairExample, RelationExample, Span, SplitName, TaggedExample
from mtscale.inputs.encode import EncodingCounts, TaskEncoder, mask_arguments
from mtscale.tasks import Kind, Task

# A sentence to tag without a mention counts under this name in the distribution of labels.
NO_MENTION = "no mention"
# The bins that scores are counted in for the distribution of labels.
SCORE_BINS = 5

MakeEncoder = Callable[[Task, SplitName], TaskEncoder]


class Labelled(NamedTuple):
    """What the model sees of an example, as a hash, and the label that it is to give."""

    id: str
    input: bytes
    label: float | str


@dataclass
class SplitFacts:
    """What the checks know of a split.

    ``pieces`` holds the length of each row of the encoder in word pieces. ``pairs`` are the passages of whole pairs,
    ``sentences`` those of single texts. ``lost`` are the gold entries that no example stands for: ids, or mentions as
    ``<document>:<start>-<end>``; ``lost_positives`` of them are a mention, a pair or a relation.
    """

    task: Task
    split: SplitName
    labels: Counter[str] = field(default_factory=Counter)
    labelled: list[Labelled] = field(default_factory=list)
    sentences: list[Passage] = field(default_factory=list)
    documents: list[Passage] = field(default_factory=list)
    pairs: list[Passage] = field(default_factory=list)
    counts: EncodingCounts = field(default_factory=EncodingCounts)
    pieces: array[int] = field(default_factory=lambda: array("i"))
    gold: int = 0
    lost: tuple[str, ...] = ()
    lost_positives: int = 0


def read_facts(task: Task, split: SplitName, data_root: Path | None, make_encoder: MakeEncoder) -> SplitFacts:
    """Read a split once for its examples and once for its gold.

    Raises:
        ConfigError, DataError: as ``catalogue.read_examples``.
    """
    collector = _Collector(task, split)
    encoder = make_encoder(task, split)
    examples = with_progress(catalogue.read_examples(task, split, data_root), f"{task.name} {split}")
    for row in encoder.rows(collector.watch(examples)):
        collector.facts.pieces.append(len(row["pieces"]))
    gold: dict[str, GoldValue] = dict(catalogue.read_gold(task, split, data_root))
    return collector.finish(encoder.counts, gold)


class _Collector:
    """Grows the facts of a split while its examples pass by."""

    def __init__(self, task: Task, split: SplitName) -> None:
        self.facts = SplitFacts(task, split)
        self._sentences: dict[tuple[str, int, bytes], Passage] = {}
        self._spans: dict[str, set[Span]] = {}

    def watch(self, examples: Iterable[Example]) -> Iterator[Example]:
        for example in examples:
            if isinstance(example, PairExample):
                self._add_pair(example)
            elif isinstance(example, RelationExample):
                self._add_relation(example)
            else:
                self._add_tagged(example)
            yield example

    def finish(self, counts: EncodingCounts, gold: dict[str, GoldValue]) -> SplitFacts:
        facts = self.facts
        facts.counts = counts
        facts.sentences = list(self._sentences.values())
        facts.documents = self._documents()
        self._compare(gold)
        return facts

    def _add_pair(self, example: PairExample) -> None:
        task, texts = self.facts.task, (example.first, example.second)
        # The order of a pair means something to inference and nothing to similarity.
        ordered = sorted(texts) if task.kind is Kind.SIMILARITY else texts
        pair = passage(example.id, example.document, "\n".join(ordered))
        pair.examples = pair.positives = 1
        self.facts.pairs.append(pair)
        self.facts.labelled.append(Labelled(example.id, pair.digest, example.label))
        self.facts.labels[example.label if isinstance(example.label, str) else _bin(task, example.label)] += 1
        for text in texts:
            self._add_text(example, text, 0, positives=1)

    def _add_relation(self, example: RelationExample) -> None:
        related = example.labels != (self.facts.task.negative,)
        self._add_text(example, example.text, example.offset, positives=int(related))
        label = " and ".join(sorted(example.labels))
        self.facts.labelled.append(Labelled(example.id, digest(mask_arguments(example)[0]), label))
        self.facts.labels.update(example.labels)

    def _add_tagged(self, example: TaggedExample) -> None:
        self._add_text(example, example.text, example.offset, positives=len(example.spans))
        self._spans.setdefault(example.document, set()).update(example.spans)
        inside = sorted((span.start - example.offset, span.end - example.offset, span.label) for span in example.spans)
        self.facts.labelled.append(Labelled(example.id, digest(example.text), repr(inside)))
        self.facts.labels.update([span.label for span in example.spans] or [NO_MENTION])

    def _add_text(self, example: Example, text: str, offset: int, *, positives: int) -> None:
        """Count an example under its sentence; the rows of a table that give no document share equal sentences."""
        document = "" if example.document == example.id else example.document
        key = (document, offset, digest(text))
        if key not in self._sentences:
            named = isinstance(example, RelationExample) and document
            id_ = f"{document}:{offset}-{offset + len(text)}" if named else example.id
            self._sentences[key] = passage(id_, document or example.id, text)
        self._sentences[key].examples += 1
        self._sentences[key].positives += positives

    def _documents(self) -> list[Passage]:
        """The documents of sentences. Pairs, and rows of a table that name no document, have none."""
        if self.facts.pairs:
            return []
        parts: dict[str, list[tuple[int, Passage]]] = {}
        for (document, offset, _), sentence in self._sentences.items():
            if document:
                parts.setdefault(document, []).append((offset, sentence))
        return [
            joined(document, [sentence for _, sentence in sorted(found, key=lambda part: part[0])])
            for document, found in parts.items()
        ]

    def _compare(self, gold: dict[str, GoldValue]) -> None:
        facts = self.facts
        if facts.task.kind is Kind.TAGGING:
            lost = [
                f"{document}:{span.start}-{span.end}"
                for document, spans in gold.items()
                if isinstance(spans, frozenset)
                for span in sorted(spans - self._spans.get(document, set()))
            ]
            facts.gold = sum(len(spans) for spans in gold.values() if isinstance(spans, frozenset))
            facts.lost, facts.lost_positives = tuple(lost), len(lost)
            return
        examples = {example.id for example in facts.labelled}
        facts.gold = len(gold)
        facts.lost = tuple(id_ for id_ in gold if id_ not in examples)
        facts.lost_positives = sum(gold[id_] != (facts.task.negative,) for id_ in facts.lost)


def _bin(task: Task, score: float) -> str:
    low, high = task.score_range or (0.0, 5.0)
    width = (high - low) / SCORE_BINS
    number = min(SCORE_BINS - 1, max(0, int((score - low) / width)))
    return f"{low + number * width:g} to {low + (number + 1) * width:g}"
