"""Which sentence pairs share a sentence, directly or through other pairs."""

from __future__ import annotations

from collections.abc import Iterable


def clusters(pairs: Iterable[tuple[str, ...]]) -> list[int]:
    """For each pair, or longer tuple, the smallest position, from 0, among those it is connected with by equal strings.

    Strings are equal when their characters are.
    """
    parents: list[int] = []
    first_use: dict[str, int] = {}
    for position, pair in enumerate(pairs):
        parents.append(position)
        for sentence in pair:
            one, other = _root(parents, first_use.setdefault(sentence, position)), _root(parents, position)
            parents[max(one, other)] = min(one, other)
    return [_root(parents, position) for position in range(len(parents))]


def _root(parents: list[int], position: int) -> int:
    while parents[position] != position:
        # Halving the way to the root keeps the next one short.
        parents[position] = parents[parents[position]]
        position = parents[position]
    return position
