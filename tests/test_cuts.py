"""The 30-word cut of sentences to tag: without a look at the gold, and as the authors' code has it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora.example import Span, TaggedExample
from mtscale.inputs.encode import PieceVocabulary, TaskEncoder, cut_after_outside, cut_words
from mtscale.procedure import CLEAN_PROCEDURE
from mtscale.tasks import TASKS

NER = TASKS["cdr-disease"]

WORD_SIZES = st.lists(st.tuples(st.sampled_from("ab,;)."), st.integers(1, 6)), max_size=120)


@settings(deadline=None)
@given(sized=WORD_SIZES, room=st.integers(6, 60))
def test_sub_sentences_fit_and_cover_all_words_in_order(sized: list[tuple[str, int]], room: int) -> None:
    words, pieces = [word for word, _ in sized], [size for _, size in sized]
    bounds = cut_words(words, pieces, room)
    assert [word for first, last in bounds for word in range(first, last)] == list(range(len(words)))
    for first, last in bounds:
        assert 0 < last - first <= 30
        assert sum(pieces[first:last]) <= room
    for (first, last), _ in pairwise(bounds):
        fits = last  # how far this sub-sentence could have gone
        while fits < len(words) and fits - first < 30 and sum(pieces[first : fits + 1]) <= room:
            fits += 1
        breaks = [word for word in range(first + (fits - first) // 2, fits) if words[word] in ",;:)]"]
        assert last == (breaks[-1] + 1 if breaks else fits)


def test_a_long_sentence_is_cut_after_punctuation() -> None:
    words = ["w"] * 50
    assert cut_words(words, [1] * 50, 100) == [(0, 30), (30, 50)]
    words[20] = ","
    assert cut_words(words, [1] * 50, 100) == [(0, 21), (21, 50)]
    words[24] = ")"
    assert cut_words(words, [1] * 50, 100) == [(0, 25), (25, 50)]
    assert cut_words(words[:30], [1] * 30, 100) == [(0, 30)]
    assert cut_words(["w", ",", *["w"] * 48], [1] * 50, 100)[0] == (0, 30), "too early a break makes short inputs"
    assert cut_words([], [], 6) == []


def literal_cut(tags: Sequence[str]) -> list[int]:
    """The lengths that the loop of BlueBERT's ``_read_data`` gives (run_bluebert_ner.py, ncbi-nlp/bluebert)."""
    tags, lengths = list(tags), []
    while len(tags) > 30:
        window = tags[:30]
        for _ in range(len(window)):
            if window.pop() == "O":
                break
        lengths.append(len(window) + 1)
        tags = tags[len(window) + 1 :]
    return [*lengths, len(tags)] if tags else lengths


TAGS = st.lists(st.sampled_from(["O", "B-Disease", "I-Disease", "I-Disease"]), max_size=120)


@settings(deadline=None)
@given(tags=st.one_of(TAGS, st.lists(st.sampled_from(["B-Disease", "I-Disease"]), max_size=80)))
def test_the_gold_aware_cut_is_that_of_the_authors(tags: list[str]) -> None:
    bounds = cut_after_outside(tags)
    assert [last - first for first, last in bounds] == literal_cut(tags)
    assert [word for first, last in bounds for word in range(first, last)] == list(range(len(tags)))


@pytest.mark.parametrize(
    ("tags", "lengths"),
    [
        (["O"] * 70, [30, 30, 10]),
        # A run of 34 words of mentions: single words until an O is among the 30 that fit.
        (["B"] * 34 + ["O"] * 6, [1, 1, 1, 1, 1, 30, 5]),
        (["O"] * 28 + ["B", "I", "I", "O"], [28, 4]),
        (["O"] * 30, [30]),
        ([], []),
    ],
    ids=["all outside", "a long run", "a mention at the bound", "what fits", "nothing"],
)
def test_known_cuts(tags: list[str], lengths: list[int]) -> None:
    assert [last - first for first, last in cut_after_outside(tags)] == lengths


@pytest.mark.parametrize("with_labels", [True, False], ids=["train", "test"])
@pytest.mark.parametrize(("cut", "expected"), [("gold_blind", [30, 10]), ("gold_aware", [28, 12])])
def test_a_mention_at_the_bound_is_cut_only_without_a_look(
    tiny_vocabulary: PieceVocabulary, cut: Literal["gold_blind", "gold_aware"], expected: list[int], with_labels: bool
) -> None:
    text = " ".join(["rat"] * 40)
    mention = Span(28 * 4, 31 * 4 - 1, "Disease")  # words 28 to 30
    procedure = CLEAN_PROCEDURE.model_copy(update={"cut": cut})
    encoder = TaskEncoder(NER, tiny_vocabulary, 128, with_labels=with_labels, procedure=procedure)
    rows = list(encoder.rows([TaggedExample("s", "d", text, 0, (mention,))]))
    assert [len(row["starts"]) for row in rows] == expected
    assert all(("word_labels" in row) == with_labels for row in rows)
    assert encoder.counts.mentions_cut == (with_labels and cut == "gold_blind")
    assert encoder.counts.sentences_cut == 1


def test_a_gold_aware_part_that_does_not_fit_is_cut_again(tiny_vocabulary: PieceVocabulary) -> None:
    text = " ".join(["zyxzyx"] * 40)
    procedure = CLEAN_PROCEDURE.model_copy(update={"cut": "gold_aware"})
    encoder = TaskEncoder(NER, tiny_vocabulary, 64, with_labels=True, procedure=procedure)
    rows = list(encoder.rows([TaggedExample("s", "d", text, 0, ())]))
    assert all(len(row["pieces"]) <= 64 for row in rows)
    assert [start for row in rows for start in row["starts"]] == [7 * word for word in range(40)]
