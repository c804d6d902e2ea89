"""Which passages repeat which, exactly or nearly, over any number of places (a split of a task is one).

Near duplicates are looked up by MinHash and locality-sensitive hashing (datasketch) and verified by the exact Jaccard
similarity of their shingles. ``BANDS`` x ``ROWS`` hashes find two texts of similarity s with probability
1 - (1 - s^ROWS)^BANDS: 99.98 % at 0.8. Equal texts are looked up once, whatever their number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from datasketch import MinHash, MinHashLSH

from mtscale.checks.passages import Passage, Shingles, jaccard
from mtscale.checks.progress import with_progress

# The Jaccard similarity from which on two texts are near duplicates.
NEAR = 0.8
# Shorter texts ("Methods.") repeat without meaning anything.
MIN_WORDS = 4
BANDS, ROWS = 16, 4

Place = int


@dataclass(frozen=True, slots=True)
class Overlap:
    """A passage that repeats another one of the place ``earlier``; their similarity is None where they are equal."""

    place: Place
    passage: Passage
    earlier: Place
    repeated: Passage
    similarity: float | None


@dataclass(slots=True)
class _Text:
    """All passages of one text by their place."""

    shingles: Shingles
    passages: dict[Place, list[Passage]] = field(default_factory=lambda: defaultdict(list))


def find_overlaps(
    places: Sequence[Sequence[Passage]], earlier: Mapping[Place, AbstractSet[Place]], title: str
) -> Iterator[Overlap]:
    """For each passage and each place in ``earlier[its place]`` one passage there that it repeats, if there is one.

    Where that is its own place, the first of equal passages repeats none, and passages of one document are left out.
    """
    texts = _texts(places)
    yield from _exact(texts, earlier)
    yield from _near(texts, earlier, title)


def _texts(places: Sequence[Sequence[Passage]]) -> list[_Text]:
    texts: dict[bytes, _Text] = {}
    for place, passages in enumerate(places):
        for passage in passages:
            if passage.words >= MIN_WORDS:
                texts.setdefault(passage.digest, _Text(passage.shingles)).passages[place].append(passage)
    return list(texts.values())


def _exact(texts: Sequence[_Text], earlier: Mapping[Place, AbstractSet[Place]]) -> Iterator[Overlap]:
    for text in texts:
        for place, passages in text.passages.items():
            for other in sorted(earlier[place] & text.passages.keys()):
                first = text.passages[other][0]
                for passage in passages:
                    if other != place or passage.document != first.document:
                        yield Overlap(place, passage, other, first, None)


def _near(texts: Sequence[_Text], earlier: Mapping[Place, AbstractSet[Place]], title: str) -> Iterator[Overlap]:
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    shingles = (text.shingles.tolist() for text in texts)
    # The shingles are hashes already.
    sketches = list(MinHash.generator(shingles, num_perm=BANDS * ROWS, hashfunc=int))
    for number, sketch in enumerate(sketches):
        index.insert(number, sketch, check_duplication=False)
    for number, sketch in enumerate(with_progress(sketches, title, len(sketches))):
        text = texts[number]
        wanted = {place: earlier[place] - (text.passages.keys() - {place}) for place in text.passages}
        if any(wanted.values()):
            yield from _near_of(texts, number, sorted(index.query(sketch)), wanted)


def _near_of(
    texts: Sequence[_Text], number: int, candidates: Sequence[int], wanted: Mapping[Place, AbstractSet[Place]]
) -> Iterator[Overlap]:
    """The near duplicates of one text in the places where it has no exact one; the search ends when each has one."""
    text = texts[number]
    open_places = {place: set(others) for place, others in wanted.items()}
    for candidate in candidates:
        other_text = texts[candidate]
        # A candidate of the own place that comes later finds this text itself.
        usable = {
            place: {
                other
                for other in others & other_text.passages.keys()
                if other != place
                or (candidate < number and other_text.passages[other][0].document != text.passages[place][0].document)
            }
            for place, others in open_places.items()
        }
        if candidate == number or not any(usable.values()):
            continue
        similarity = jaccard(text.shingles, other_text.shingles)
        if similarity < NEAR:
            continue
        for place, others in usable.items():
            open_places[place] -= others
            for other in sorted(others):
                for passage in text.passages[place]:
                    yield Overlap(place, passage, other, other_text.passages[other][0], similarity)
        if not any(open_places.values()):
            return
