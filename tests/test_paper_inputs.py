"""The switches of ``[paper]`` that change inputs and their scores, against what the authors' code does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mtscale.corpora.example import PairExample, Span, TaggedExample
from mtscale.corpora.tags import iob2_classes, tag_words
from mtscale.inputs.batches import collate
from mtscale.inputs.cache import open_split
from mtscale.inputs.encode import PieceVocabulary, TaskEncoder
from mtscale.metrics.spans import PIECE_CLASSES, conlleval_f1, decode_iob2, strict_iob2_f1
from mtscale.model.encoder import longest_input
from mtscale.model.heads import num_outputs
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.tasks import TASKS, Kind

STS, NLI, RELATION, NER = (
    TASKS[name] for name in ("cdr-similarity", "evidence-inference", "cdr-relation", "cdr-disease")
)
PAPER = PaperSettings()
CLASSES = [*iob2_classes(NER.labels), *PIECE_CLASSES]


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer as transformers has it."""
    return AutoTokenizer.from_pretrained(tiny_encoder)


# Tags of pieces


def authors_rows(words: Sequence[str], tags: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[Any, Any]:
    """``build_data_sequence`` of the authors' preprocessing: the pieces of a sentence and the class of each."""
    pieces, labels = [], []
    for word, tag in zip(words, tags, strict=True):
        of_word = tokenizer.tokenize(word)
        pieces += of_word
        labels += [tag, *["X"] * (len(of_word) - 1)]
    ids = tokenizer.convert_tokens_to_ids(["[CLS]", *pieces, "[SEP]"])
    return ids, ["CLS", *labels, "SEP"]


def sentence(words: Sequence[str], mentions: Sequence[tuple[int, int]] = ()) -> TaggedExample:
    """Words with blanks between them; mentions as [first, last) words."""
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    places = tuple((start, start + len(word)) for start, word in zip(starts, words, strict=False))
    spans = tuple(Span(places[first][0], places[last - 1][1], "Disease") for first, last in mentions)
    return TaggedExample("s", "d", " ".join(words), 0, spans, words=places)


WORDS = st.lists(st.sampled_from(["rat", "tremor", "zyxq", "the", "q1w2e3", ","]), min_size=1, max_size=28)


@settings(deadline=None, max_examples=40)
@given(words=WORDS, first=st.integers(0, 20), length=st.integers(1, 4))
def test_every_piece_is_labelled_as_by_the_authors(
    tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase, words: list[str], first: int, length: int
) -> None:
    mentions = [(first, first + length)] if first + length <= len(words) else []
    example = sentence(words, mentions)
    assert example.words is not None
    encoder = TaskEncoder(NER, tiny_vocabulary, 512, with_labels=True, procedure=PAPER)
    (row,) = encoder.rows([example])
    ids, labels = authors_rows(words, tag_words(example.words, example.spans), tokenizer)
    assert row["pieces"] == ids
    assert [CLASSES[label] for label in row["piece_labels"]] == labels
    assert "word_labels" not in row


def test_training_reads_all_pieces_and_prediction_the_first_of_each_word(
    tmp_path: Path, tiny_vocabulary: PieceVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path))
    train = open_split(NER, "train", None, tiny_vocabulary, 128, PAPER)
    rows = np.array([0, 3])
    batch = collate(train.rows, rows, Kind.TAGGING)
    assert batch.labels is not None
    assert batch.read.tolist() == list(range(batch.pieces))
    assert batch.labels.tolist() == [label for row in rows for label in train.rows[int(row)]["piece_labels"]]
    assert train.terms.tolist() == train.lengths.tolist()
    predicting = collate(train.rows, rows, Kind.TAGGING, labelled=False)
    assert predicting.labels is None
    ends = np.cumsum([0, train.lengths[0]])
    expected = [
        piece + start for row, start in zip(rows, ends, strict=True) for piece in train.rows[int(row)]["word_pieces"]
    ]
    assert predicting.read.tolist() == expected


def test_a_tagging_head_has_three_classes_more_and_no_other_head_has() -> None:
    assert num_outputs(NER, piece_classes=True) == len(CLASSES) == 6
    for task in (STS, NLI, RELATION):
        assert num_outputs(task, piece_classes=True) == num_outputs(task)


# Scores of predicted X, CLS and SEP


def literal_conlleval(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Micro F1 of the conlleval script in Python that the authors' code calls: chunks counted where they begin."""

    def parse(tag: str) -> tuple[str, str]:
        prefix, dash, label = tag.partition("-")
        return (prefix, label) if dash else (tag, "")

    def begins(before: tuple[str, str], now: tuple[str, str]) -> bool:
        return now[0] == "B" or (before[0] == "O" and now[0] == "I") or (now[0] != "O" and before[1] != now[1])

    def ends(before: tuple[str, str], now: tuple[str, str]) -> bool:
        return (before[0] in "BI" and now[0] in ("B", "O")) or (before[0] != "O" and before[1] != now[1])

    correct = in_gold = in_predicted = 0
    is_correct = False
    last = last_predicted = ("O", "")
    boundary = ["O"]
    tags = [tag for sentence in gold for tag in [*sentence, *boundary]]
    guesses = [tag for sentence in predicted for tag in [*sentence, *boundary]]
    for tag, guess in zip(tags, guesses, strict=True):
        now, now_predicted = parse(tag), parse(guess)
        end, end_predicted = ends(last, now), ends(last_predicted, now_predicted)
        begin, begin_predicted = begins(last, now), begins(last_predicted, now_predicted)
        if is_correct:
            if end and end_predicted and last[1] == last_predicted[1]:
                is_correct = False
                correct += 1
            elif end != end_predicted or now[1] != now_predicted[1]:
                is_correct = False
        if begin and begin_predicted and now[1] == now_predicted[1]:
            is_correct = True
        in_gold += begin
        in_predicted += begin_predicted
        last, last_predicted = now, now_predicted
    return 2 * correct / (in_gold + in_predicted) if in_gold + in_predicted else 0.0


IOB = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]
SENTENCES = st.integers(1, 9).flatmap(
    lambda size: st.tuples(
        st.lists(st.sampled_from(IOB), min_size=size, max_size=size),
        st.lists(st.sampled_from([*IOB, *PIECE_CLASSES]), min_size=size, max_size=size),
    )
)


@settings(deadline=None, max_examples=100)
@given(sentences=st.lists(SENTENCES, min_size=1, max_size=3))
def test_classes_of_pieces_predicted_for_words_are_scored_as_by_the_authors(
    sentences: list[tuple[list[str], list[str]]],
) -> None:
    gold, predicted = [one for one, _ in sentences], [other for _, other in sentences]
    assert conlleval_f1(gold, predicted) == pytest.approx(literal_conlleval(gold, predicted))


def test_a_class_of_pieces_is_a_false_chunk_after_a_mention_and_nothing_elsewhere() -> None:
    gold = [["B-Disease", "O", "O"]]
    assert conlleval_f1(gold, [["B-Disease", "O", "X"]]) == 1.0
    assert conlleval_f1(gold, [["B-Disease", "X", "SEP"]]) == pytest.approx(2 / 3)
    assert decode_iob2(["X", "B-Disease", "CLS", "I-Disease"]) == [(1, 2, "Disease"), (3, 4, "Disease")]
    assert strict_iob2_f1(gold, [["B-Disease", "X", "SEP"]]) == 1.0


# Pairs


def authors_pair(first: str, second: str, tokenizer: PreTrainedTokenizerBase, longest: int) -> tuple[Any, Any]:
    """``bert_feature_extractor`` of the authors' preprocessing: input and segment ids."""
    a, b = tokenizer.tokenize(first), tokenizer.tokenize(second)
    while len(a) + len(b) > longest - 3:
        (a if len(a) > len(b) else b).pop()
    ids = tokenizer.convert_tokens_to_ids(["[CLS]", *b, "[SEP]", *a, "[SEP]"])
    return ids, [0] * (len(b) + 2) + [1] * (len(a) + 1)


@pytest.mark.parametrize("sizes", [(3, 5), (40, 4), (4, 40), (30, 30)])
@pytest.mark.parametrize("task", [STS, NLI], ids=["similarity", "inference"])
def test_pairs_are_turned_as_by_the_authors(
    tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase, task: Any, sizes: tuple[int, int]
) -> None:
    words = random.Random(sum(sizes)).choices(["rat", "tremor", "the", "zq"], k=sum(sizes))
    first, second = " ".join(words[: sizes[0]]), " ".join(words[sizes[0] :])
    label: Any = 2.5 if task is STS else task.labels[0]
    encoder = TaskEncoder(task, tiny_vocabulary, 32, with_labels=True, procedure=PAPER)
    (row,) = encoder.rows([PairExample("p", "d", first, second, label=label)])
    ids, segments = authors_pair(first, second, tokenizer, 32)
    assert row["pieces"] == ids
    assert [int(place >= row["second"]) for place in range(len(ids))] == segments


# What is too long


def test_long_sentences_are_dropped_in_training_and_whole_at_evaluation(tiny_vocabulary: PieceVocabulary) -> None:
    long, short = sentence(["zyxzyx"] * 28, [(0, 2), (5, 6)]), sentence(["rat"] * 28, [(0, 1)])
    pieces = 2 + 6 * 28

    def encode(longest: int, whole: int | None) -> tuple[list[int], TaskEncoder]:
        encoder = TaskEncoder(NER, tiny_vocabulary, longest, with_labels=True, procedure=PAPER, whole=whole)
        return [len(row["pieces"]) for row in encoder.rows([long, short])], encoder

    found, training = encode(128, None)
    assert found == [30]
    assert (training.counts.rows_dropped, training.counts.mentions_dropped, training.counts.mentions) == (1, 2, 3)
    assert encode(pieces, None)[0] == [pieces, 30]
    found, evaluation = encode(128, 512)
    assert found == [pieces, 30]
    assert (evaluation.counts.rows_dropped, evaluation.counts.sentences_cut) == (0, 0)
    found, narrow = encode(128, 160)  # the encoder has no more positions: cut once more, and counted
    assert max(found) <= 160
    assert sum(size - 2 for size in found) == 6 * 28 + 28
    assert narrow.counts.sentences_cut == 1


def test_the_positions_of_an_encoder_bound_an_input(tiny_encoder: Path) -> None:
    assert longest_input(str(tiny_encoder)) == 160


def test_what_changes_the_rows_of_a_kind_makes_another_key(
    tmp_path: Path, tiny_vocabulary: PieceVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path))
    other = {name: value for name, value in PAPER.model_dump().items() if getattr(CLEAN_PROCEDURE, name) != value}
    assert other.keys() == PaperSettings.model_fields.keys()
    tagging, pairs = {Kind.TAGGING}, {Kind.SIMILARITY, Kind.INFERENCE}
    concerns = {"cut": tagging, "tag_classes": tagging, "too_long": tagging, "pair_order": pairs}
    for task in (NER, STS, NLI, RELATION):
        plain = set(_files(tmp_path, task, tiny_vocabulary, CLEAN_PROCEDURE))
        for name, value in other.items():
            changed = CLEAN_PROCEDURE.model_copy(update={name: value})
            new = set(_files(tmp_path, task, tiny_vocabulary, changed)) - plain
            assert bool(new) == (task.kind in concerns.get(name, set())), (task.name, name)
            plain |= new


def _files(folder: Path, task: Any, vocabulary: PieceVocabulary, procedure: PaperSettings) -> list[str]:
    open_split(task, "test", None, vocabulary, 64, procedure)
    return [path.name for path in (folder / "encoded").iterdir()]
