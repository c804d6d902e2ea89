"""Which entries of a gold belong together, so that resampling a test set must take or leave them as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from mtscale.corpora import catalogue
from mtscale.corpora.clusters import clusters
from mtscale.corpora.example import PairExample, SplitName
from mtscale.tasks import Kind, Task


def cluster_of(task: Task, split: SplitName, data_root: Path | None) -> dict[str, str]:
    """The cluster of each entry of the gold, by the entry's id.

    A cluster is the document or article of the entry. Of sentence pairs it is all pairs connected by a sentence or a
    document that they share, named after the first; sentences are equal when their words are, in any case. A corpus
    that names no documents leaves each of its relations alone.

    Raises:
        ConfigError, DataError: as ``catalogue.read_examples``.
    """
    if task.kind not in (Kind.SIMILARITY, Kind.INFERENCE):
        return {item.id: item.document for item in catalogue.iterate_gold(task, split, data_root)}
    ids: list[str] = []

    def links() -> Iterator[tuple[str, str, str]]:
        for example in catalogue.read_examples(task, split, data_root):
            assert isinstance(example, PairExample)
            ids.append(example.id)
            yield _sentence(example.first), _sentence(example.second), f"document {example.document}"

    firsts = clusters(links())
    return {id_: ids[first] for id_, first in zip(ids, firsts, strict=True)}


def _sentence(text: str) -> str:
    """Equal for sentences of the same words; the sentences themselves need not be kept."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "surrogatepass")).hexdigest()
