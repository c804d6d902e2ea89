from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.errors import DataError
from mtscale.metrics.floors import (
    MentionDictionary,
    Sentence,
    inference_floor,
    relation_floor,
    tagging_floor,
    token_overlap_pearson,
)
from mtscale.metrics.scoring import score_relation
from mtscale.metrics.spans import Mention
from mtscale.tasks import TASKS
from tests.costs import cost

MEDNLI, DDI, CDR, DISEASE = TASKS["mednli"], TASKS["ddi2013"], TASKS["cdr-relation"], TASKS["bc5cdr-disease"]


def test_inference_floor_takes_the_training_majority() -> None:
    train = ["neutral", "neutral", "entailment"]
    gold = {"a": "entailment", "b": "entailment", "c": "entailment", "d": "neutral"}
    assert inference_floor(MEDNLI, train, gold) == 0.25


def test_a_tied_majority_falls_to_the_first_label() -> None:
    train = ["neutral", "entailment"]
    assert inference_floor(MEDNLI, train, {"a": "entailment", "b": "entailment", "c": "neutral"}) == pytest.approx(
        2 / 3
    )


def test_relation_floor_with_one_positive_class_calls_everything_positive() -> None:
    gold = {"a": ("induces",), "b": ("none",), "c": ("none",)}
    assert relation_floor(CDR, [("none",)], gold) == pytest.approx(0.5)


relations = st.dictionaries(
    st.integers(0, 30).map(str), st.lists(st.sampled_from(DDI.labels), min_size=1, max_size=2).map(tuple), min_size=1
)


@settings(deadline=None, max_examples=60)
@given(relations, relations)
def test_relation_floor_is_the_constant_that_is_best_on_training(
    train: dict[str, tuple[str, ...]], gold: dict[str, tuple[str, ...]]
) -> None:
    def micro_f1(of: dict[str, tuple[str, ...]], constant: str) -> float:
        return score_relation(DDI, of, dict.fromkeys(of, constant)).values["micro_f1"]

    best = max(DDI.positives, key=lambda constant: micro_f1(train, constant))
    assert relation_floor(DDI, train.values(), gold) == micro_f1(gold, best)


def test_overlap_is_jaccards_over_lower_cased_words() -> None:
    pairs = [("The cat sat.", "the CAT ran"), ("a b", "c d"), ("same words", "Words same, same!"), ("", "...")]
    gold = [3.0, 0.0, 5.0, 1.0]
    assert token_overlap_pearson(pairs, gold) == pytest.approx(np.corrcoef([1 / 2, 0, 1, 0], gold)[0, 1])


def learn(text: str, *mentions: str) -> MentionDictionary:
    return MentionDictionary([Sentence("train", 0, text)], [(mention, "Disease") for mention in mentions])


def found(dictionary: MentionDictionary, text: str) -> list[str]:
    return [text[start:end] for start, end, _ in sorted(dictionary.find([Sentence("d", 0, text)]).get("d", ()))]


def test_mentions_come_back_in_document_offsets() -> None:
    dictionary = learn("Renal failure", "Renal failure")
    sentences = [
        Sentence("one", 100, "No RENAL FAILURE."),
        Sentence("two", 7, "none"),
        Sentence("one", 0, "renal failure"),
    ]
    assert dictionary.find(sentences) == {"one": {Mention(103, 116, "Disease"), Mention(0, 13, "Disease")}}


def test_the_longest_string_wins_from_left_to_right() -> None:
    dictionary = learn("a b c. b c d.", "a b", "a b c", "b c d", "d")
    assert found(dictionary, "a b c d, b c d") == ["a b c", "d", "b c d"]


def test_strings_stop_at_word_boundaries() -> None:
    dictionary = learn("ache", "ache")
    assert found(dictionary, "headache aches ache_1 ache-free (ache)") == ["ache", "ache"]


def test_strings_may_begin_and_end_with_signs() -> None:
    dictionary = learn("(+)-x and Ca2+", "(+)-x", "Ca2+")
    assert found(dictionary, "both (+)-X, ca2+.") == ["(+)-X", "ca2+"]


def test_a_string_is_kept_if_half_of_its_occurrences_are_mentions() -> None:
    assert found(learn("cold. cold", "cold"), "cold") == ["cold"]
    assert found(learn("cold. cold. Cold", "cold"), "cold") == []
    # "failure" also occurs inside the longer mention.
    assert (
        found(learn("renal failure, renal failure, failure", "renal failure", "renal failure", "failure"), "failure")
        == []
    )


def test_the_most_frequent_label_is_kept() -> None:
    mentions = [("iron", "Chemical"), ("iron", "Gene"), ("Iron", "Gene")]
    dictionary = MentionDictionary([Sentence("train", 0, "iron iron iron")], mentions)
    assert dictionary.find([Sentence("d", 0, "iron")]) == {"d": {Mention(0, 4, "Gene")}}


def test_lower_casing_moves_no_offset() -> None:
    text = "\u0130\u0130 fever"
    assert found(learn("fever", "fever"), text) == ["fever"]


texts = st.text(alphabet="aAb -.", max_size=14)
strings = st.text(alphabet="ab -.", min_size=1, max_size=4).filter(lambda string: string == string.strip())


@settings(deadline=None, max_examples=300)
@given(st.lists(texts, min_size=1, max_size=4), st.lists(strings, max_size=6), texts)
def test_agrees_with_a_search_at_every_place(train: list[str], mentions: list[str], text: str) -> None:
    def boundary(text: str, place: int) -> bool:
        return not (0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum())

    def occurs(text: str, string: str, place: int) -> bool:
        ends = boundary(text, place) and boundary(text, place + len(string))
        return ends and text[place : place + len(string)].lower() == string

    kept = [
        string
        for string in mentions
        if 2 * mentions.count(string) >= sum(occurs(one, string, place) for one in train for place in range(len(one)))
    ]
    expected, place = [], 0
    while place < len(text):
        here = max((string for string in kept if occurs(text, string, place)), key=len, default="")
        if here:
            expected.append(text[place : place + len(here)])
        place += len(here) or 1

    dictionary = MentionDictionary(
        [Sentence("train", 0, one) for one in train], [(string, "Disease") for string in mentions]
    )
    assert found(dictionary, text) == expected


def test_tagging_floor_is_a_strict_f1_over_all_documents() -> None:
    dictionary = learn("fever", "fever")
    gold = {"1": {Mention(0, 5, "Disease")}, "2": {Mention(0, 4, "Disease")}, "3": set[Mention]()}
    sentences = [Sentence("1", 0, "Fever"), Sentence("2", 0, "rash"), Sentence("3", 0, "fever")]
    assert tagging_floor(DISEASE, dictionary, sentences, gold) == 0.5


def test_a_large_dictionary_is_fast() -> None:
    """5,000 strings with one first word, 5,000 sentences: comparing every string at every word would take minutes."""
    draw = random.Random(0)
    texts, mentions = [], []
    for _ in range(5000):
        phrases = [f"acute w{draw.randrange(10**4)} w{draw.randrange(10**4)}" for _ in range(10)]
        texts.append(" acute ".join(phrases))
        mentions.append((phrases[5], "Disease"))
    sentences = [Sentence(str(number), 0, text) for number, text in enumerate(texts)]
    documents: dict[str, object] = {}
    assert cost(lambda: documents.update(MentionDictionary(sentences, mentions).find(sentences))) < 100
    assert len(documents) == 5000


def test_floors_refuse_gold_they_cannot_score() -> None:
    with pytest.raises(DataError, match="found none"):
        inference_floor(MEDNLI, ["neutral"], {})
    with pytest.raises(DataError, match="equal"):
        token_overlap_pearson([("a", "b"), ("a", "a")], [1.0, 1.0])
