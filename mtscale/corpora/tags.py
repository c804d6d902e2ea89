"""IOB2 tags: the classes of a tagging head, and mentions laid over words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mtscale.corpora.example import Span


def iob2_classes(labels: Sequence[str]) -> list[str]:
    """The classes of a tagging head: O, then B- and I- of each entity type."""
    return ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]


def tag_words(words: Sequence[tuple[int, int]], spans: Iterable[Span]) -> list[str]:
    """IOB2 tags of words: every word that a mention touches is tagged; of overlapping ones the first, longest."""
    tags = ["O"] * len(words)
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        inside = [index for index, (start, end) in enumerate(words) if start < span.end and span.start < end]
        if inside and all(tags[index] == "O" for index in inside):
            tags[inside[0] : inside[-1] + 1] = [f"B-{span.label}", *[f"I-{span.label}"] * (len(inside) - 1)]
    return tags
