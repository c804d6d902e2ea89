from __future__ import annotations

import random
from itertools import pairwise

import pytest

from mtscale.checks.overlaps import NEAR, Overlap, find_overlaps
from mtscale.checks.passages import Passage, jaccard, joined, passage

TEXT = "Naloxone reverses the effect of clonidine in hypertensive rats, but not in normal ones."


def test_blanks_do_not_make_a_text_another_and_case_and_punctuation_do_for_the_digest_alone() -> None:
    plain, spaced, upper = (passage("a", "a", text) for text in (TEXT, f" {TEXT} ".replace(" ", " \n"), TEXT.upper()))
    assert plain.digest == spaced.digest
    assert plain.digest != upper.digest
    assert jaccard(plain.shingles, upper.shingles) == 1


def test_jaccard_of_known_shingles() -> None:
    one, other = passage("a", "a", "one two three four five"), passage("b", "b", "one two three four six")
    assert jaccard(one.shingles, other.shingles) == pytest.approx(2 / 4)
    assert jaccard(passage("c", "c", "...").shingles, passage("d", "d", "").shingles) == 0


def test_a_joined_passage_carries_what_its_parts_carry() -> None:
    parts = [passage("a", "d", TEXT), passage("b", "d", "Another sentence of the same document.")]
    parts[0].examples, parts[1].examples, parts[1].positives = 2, 3, 1
    document = joined("d", parts)
    assert (document.id, document.examples, document.positives) == ("d", 5, 1)
    assert len(document.shingles) == sum(len(part.shingles) for part in parts)
    assert document.digest != joined("d", parts[::-1]).digest
    assert joined("d", parts[:1]).digest == parts[0].digest


def variants(generator: random.Random, prefix: str, sources: list[list[str]], count: int) -> list[Passage]:
    """Sentences with a few words of a source exchanged."""
    made = []
    for number in range(count):
        words = list(generator.choice(sources))
        for _ in range(generator.choice([0, 0, 1, 1, 2, 5])):
            words[generator.randrange(len(words))] = f"x{generator.random()}"
        made.append(passage(f"{prefix}{number}", f"{prefix}{number}", " ".join(words)))
    return made


def test_near_duplicates_are_those_of_all_pairs_compared_one_by_one() -> None:
    generator = random.Random(7)
    sources = [[f"w{generator.randrange(5000)}" for _ in range(generator.randint(8, 60))] for _ in range(60)]
    train, test = variants(generator, "train", sources, 250), variants(generator, "test", sources, 250)
    expected = {
        one.id
        for one in test
        if any(one.digest == other.digest or jaccard(one.shingles, other.shingles) >= NEAR for other in train)
    }
    found = list(find_overlaps([train, test], {0: set(), 1: {0}}, "test"))
    assert {overlap.passage.id for overlap in found} == expected
    assert len(found) == len(expected)
    assert 30 < len(expected) < 220
    for overlap in found:
        same = overlap.passage.digest == overlap.repeated.digest
        assert (overlap.similarity is None) == same
        assert same or overlap.similarity == jaccard(overlap.passage.shingles, overlap.repeated.shingles) >= NEAR


def places(*texts: list[tuple[str, str]]) -> list[list[Passage]]:
    return [
        [passage(f"{place}.{n}", doc, text) for n, (doc, text) in enumerate(some)] for place, some in enumerate(texts)
    ]


def named(overlaps: list[Overlap]) -> set[tuple[str, str, bool]]:
    return {(one.passage.id, one.repeated.id, one.similarity is None) for one in overlaps}


def test_inside_a_place_the_first_is_no_repetition_and_one_document_may_repeat_itself() -> None:
    other = TEXT.replace("ones", "animals, as it was said before by others who had seen it in larger groups of them")
    near = other.upper()
    inside = places([("a", TEXT), ("a", TEXT), ("b", TEXT), ("c", other), ("d", near), ("d", near.lower())])
    assert named(list(find_overlaps(inside, {0: {0}}, "test"))) == {
        ("0.2", "0.0", True),
        ("0.4", "0.3", False),
        ("0.5", "0.3", False),
    }


def test_each_place_that_matters_is_searched() -> None:
    three = places([("a", TEXT)], [("b", TEXT.upper())], [("c", TEXT)])
    assert named(list(find_overlaps(three, {0: set(), 1: {0}, 2: {0, 1}}, "test"))) == {
        ("1.0", "0.0", False),
        ("2.0", "0.0", True),
        ("2.0", "1.0", False),
    }
    assert list(find_overlaps(three, {0: set(), 1: set(), 2: set()}, "test")) == []


def test_short_texts_are_not_compared() -> None:
    assert (
        list(
            find_overlaps(
                places([("a", "Materials and methods.")], [("b", "Materials and methods.")]), {0: set(), 1: {0}}, ""
            )
        )
        == []
    )


def test_texts_of_one_template_each_repeat_the_first() -> None:
    start = " ".join(f"w{number}" for number in range(40))
    many = places([(f"d{number}", f"{start} n{number}") for number in range(1000)])
    found = list(find_overlaps(many, {0: {0}}, "test"))
    assert len(found) == 999
    assert all(one.repeated.id == "0.0" for one, _ in pairwise(found))
