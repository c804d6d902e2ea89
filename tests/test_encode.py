from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mtscale.corpora.example import Example, PairExample, RelationExample, Span, TaggedExample
from mtscale.corpora.tags import iob2_classes, tag_words
from mtscale.inputs.decode import join_sentences
from mtscale.inputs.encode import (
    EncodingCounts,
    PieceVocabulary,
    Row,
    TaskEncoder,
    mask_arguments,
    surround_arguments,
    truncate_pair,
)
from mtscale.predictions import Prediction
from mtscale.tasks import TASKS, Task

STS, NLI, RELATION, NER = (
    TASKS[name] for name in ("cdr-similarity", "evidence-inference", "cdr-relation", "cdr-disease")
)
BOTH = replace(NER, labels=("Chemical", "Disease"))
CLASSES = iob2_classes(BOTH.labels)


@pytest.fixture(scope="session")
def tokenizer(tiny_encoder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer as transformers has it, to compare with."""
    return AutoTokenizer.from_pretrained(tiny_encoder)


def encode(
    task: Task, vocabulary: PieceVocabulary, examples: Iterable[Example], max_pieces: int = 128, *, labels: bool = True
) -> tuple[list[Row], EncodingCounts]:
    encoder = TaskEncoder(task, vocabulary, max_pieces, with_labels=labels)
    return list(encoder.rows(examples)), encoder.counts


def literal_truncation(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """The loop that BERT's own code has."""
    first, second = first[:], second[:]
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()
    return first, second


@settings(deadline=None)
@given(first=st.integers(0, 80), second=st.integers(0, 80), room=st.integers(0, 100))
def test_truncation_takes_one_piece_at_a_time_from_the_longer(first: int, second: int, room: int) -> None:
    expected = literal_truncation([0] * first, [0] * second, room)
    assert truncate_pair(first, second, room) == (len(expected[0]), len(expected[1]))


def test_pairs_are_packed_as_transformers_packs_them(
    tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase
) -> None:
    texts = [("The patient had a Tremor.", "Naïve (treated) rats?"), ("A", "the effects of lithium, in 12 patients")]
    examples = [PairExample(f"p{n}", f"d{n}", *pair, label=1.5 + n) for n, pair in enumerate(texts)]
    rows, counts = encode(STS, tiny_vocabulary, examples)
    for row, example in zip(rows, examples, strict=True):
        expected = tokenizer(example.first, example.second)
        assert row["pieces"] == expected["input_ids"]
        assert row["second"] == expected["token_type_ids"].index(1)
        assert (row["id"], row["document"], row["score"]) == (example.id, example.document, example.label)
    assert counts == EncodingCounts(examples=2, rows=2, pieces=sum(len(row["pieces"]) for row in rows))


@settings(deadline=None, max_examples=50)
@given(first=st.text("abc .", max_size=40), second=st.text("xyz ,", max_size=40), max_pieces=st.integers(8, 40))
def test_long_pairs_are_truncated_and_counted(
    tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase, first: str, second: str, max_pieces: int
) -> None:
    label = NLI.labels[2]
    (row,), counts = encode(NLI, tiny_vocabulary, [PairExample("p", "d", first, second, label)], max_pieces)
    whole = (
        tokenizer(first, add_special_tokens=False)["input_ids"],
        tokenizer(second, add_special_tokens=False)["input_ids"],
    )
    kept = literal_truncation(*whole, max_pieces - 3)
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert row["pieces"] == [cls, *kept[0], sep, *kept[1], sep]
    assert row["second"] == len(kept[0]) + 2
    assert row["label"] == 2
    lost = sum(map(len, whole)) - sum(map(len, kept))
    assert (counts.truncated_examples, counts.truncated_pieces) == (int(lost > 0), lost)


def relation(
    text: str, chemical: tuple[int, int], disease: tuple[int, int], offset: int = 100, label: str = "none"
) -> RelationExample:
    one = Span(chemical[0] + offset, chemical[1] + offset, "Chemical")
    two = Span(disease[0] + offset, disease[1] + offset, "Disease")
    return RelationExample("r", "d", text, offset, (one, two), (label,))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 2), (5, 7), "@CHEMICAL$cde@DISEASE$h"),
        ((5, 7), (0, 2), "@DISEASE$cde@CHEMICAL$h"),
        ((1, 3), (3, 8), "a@CHEMICAL$@DISEASE$"),
        ((1, 4), (3, 6), "a@CHEMICAL-DISEASE$gh"),
        ((3, 6), (1, 4), "a@CHEMICAL-DISEASE$gh"),
        ((0, 8), (2, 4), "@CHEMICAL-DISEASE$"),
        ((2, 4), (2, 6), "ab@CHEMICAL-DISEASE$gh"),
        ((2, 6), (2, 6), "ab@CHEMICAL-DISEASE$gh"),
    ],
    ids=["separate", "other order", "adjacent", "overlap", "overlap in other order", "nested", "same start", "same"],
)
@pytest.mark.parametrize("offset", [0, 41])
def test_arguments_are_masked_by_their_types(
    first: tuple[int, int], second: tuple[int, int], expected: str, offset: int
) -> None:
    assert mask_arguments(relation("abcdefgh", first, second, offset)) == (expected, expected.rindex("$") + 1)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 2), (5, 7), " @ * chemical * ab @ cde # ^ disease ^ fg # |h"),
        ((5, 7), (0, 2), " # ^ disease ^ ab # cde @ * chemical * fg @ |h"),
        ((1, 3), (3, 8), "a @ * chemical * bc @  # ^ disease ^ defgh # |"),
        ((1, 4), (3, 6), "a @ * chemical * bc # ^ disease ^ d @ ef # |gh"),
        ((2, 6), (2, 6), "ab @ * chemical *  # ^ disease ^ cdef #  @ |gh"),
    ],
    ids=["separate", "other order", "adjacent", "overlap", "same"],
)
def test_typed_markers_keep_the_arguments(first: tuple[int, int], second: tuple[int, int], expected: str) -> None:
    found = surround_arguments(relation("abcdefgh", first, second, 41))
    assert found == (expected.replace("|", ""), expected.index("|"))


def test_what_the_format_has_masked_stays(tiny_vocabulary: PieceVocabulary) -> None:
    given = replace(relation("a @CHEM$ and @DIS$ b", (0, 1), (2, 3)), arguments=None)
    assert mask_arguments(given) == surround_arguments(given) == (given.text, 18)
    assert mask_arguments(replace(given, text="none at all")) == ("none at all", 0)


def test_a_task_says_how_arguments_are_shown(tiny_vocabulary: PieceVocabulary) -> None:
    one = relation("abcdefgh", (0, 2), (5, 7))
    (masked,), _ = encode(RELATION, tiny_vocabulary, [one])
    (marked,), _ = encode(replace(RELATION, marking="typed_markers"), tiny_vocabulary, [one])
    assert len(marked["pieces"]) > len(masked["pieces"])


def test_relations_are_one_masked_text(tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase) -> None:
    example = relation("Lithium caused tremor in rats.", (0, 7), (15, 21), label="induces")
    (row,), counts = encode(RELATION, tiny_vocabulary, [example])
    expected = tokenizer("@CHEMICAL$ caused @DISEASE$ in rats.")
    assert row["pieces"] == expected["input_ids"]
    assert (row["second"], row["label"]) == (0, RELATION.labels.index("induces"))
    assert counts == EncodingCounts(examples=1, rows=1, pieces=len(row["pieces"]))


def test_an_argument_behind_the_cut_is_counted(
    tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase
) -> None:
    text = "Lithium b c d e tremor f g h"
    example = relation(text, (0, 7), (16, 22))
    pieces = tokenizer.tokenize("@CHEMICAL$ b c d e @DISEASE$ f g h")
    fits = len(pieces) - 3 + 2  # up to the "$" of the second mark, and the two specials
    _, whole = encode(RELATION, tiny_vocabulary, [example], fits)
    (row,), cut = encode(RELATION, tiny_vocabulary, [example], fits - 1)
    assert (whole.truncated_examples, whole.truncated_pieces, whole.arguments_cut_off) == (1, 3, 0)
    assert (cut.truncated_examples, cut.truncated_pieces, cut.arguments_cut_off) == (1, 4, 1)
    assert len(row["pieces"]) == fits - 1
    assert row["pieces"][-1] == tokenizer.sep_token_id


WORDS = [(0, 2), (3, 5), (6, 8), (9, 11)]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(3, 8)], "O B-x I-x O"),
        ([(0, 2), (3, 5)], "B-x B-x O O"),
        ([(4, 7)], "O B-x I-x O"),
        ([(3, 8), (6, 11)], "O B-x I-x O"),
        ([(3, 5), (3, 8)], "O B-x I-x O"),
        ([(6, 7), (7, 8)], "O O B-x O"),
        ([(2, 3)], "O O O O"),
        ([], "O O O O"),
    ],
    ids=["two words", "adjacent", "inside words", "overlap", "nested", "one word shared", "between words", "none"],
)
def test_words_touched_by_a_mention_are_tagged(spans: list[tuple[int, int]], expected: str) -> None:
    for ordered in (spans, spans[::-1]):
        assert tag_words(WORDS, [Span(*span, "x") for span in ordered]) == expected.split()


def joined(rows: Sequence[Row]) -> list[Prediction]:
    """The gold labels of rows, put together as a tagger's output is."""
    return join_sentences(
        Prediction(
            id=row["id"],
            document=row["document"],
            words=list(zip(row["starts"], row["ends"], strict=True)),
            tags=[CLASSES[label] for label in row["word_labels"]],
            probabilities=[1.0] * len(row["starts"]),
        )
        for row in rows
    )


LEXICON = ["rat", "the", "of", "disease", "zyx", "b12", ",", ";", ")", "-", "ä"]


@st.composite
def tagged_examples(draw: st.DrawFn) -> tuple[TaggedExample, list[tuple[int, int]]]:
    """A sentence at some offset with arbitrary mentions, and its words."""
    lexemes = draw(st.lists(st.sampled_from(LEXICON), min_size=1, max_size=90))
    offset = draw(st.integers(0, 50))
    words, position = [], offset
    for lexeme in lexemes:
        words.append((position, position + len(lexeme)))
        position += len(lexeme) + 1
    text = " ".join(lexemes)
    bounds = st.integers(offset, offset + len(text))
    anywhere = st.tuples(bounds, bounds).filter(lambda pair: pair[0] < pair[1])
    on_words = st.tuples(st.integers(0, len(words) - 1), st.integers(0, 5)).map(
        lambda pair: (words[pair[0]][0], words[min(pair[0] + pair[1], len(words) - 1)][1])
    )
    found = draw(st.lists(st.one_of(on_words, on_words, anywhere), max_size=12, unique=True))
    spans = tuple(Span(start, end, draw(st.sampled_from(BOTH.labels))) for start, end in found)
    return TaggedExample("s", "d", text, offset, spans), words


def touched(span: Span, words: Sequence[tuple[int, int]]) -> set[int]:
    return {number for number, word in enumerate(words) if set(range(*word)) & set(range(span.start, span.end))}


@settings(deadline=None, max_examples=150)
@given(made=tagged_examples(), max_pieces=st.integers(8, 90))
def test_mentions_on_word_bounds_survive_the_way_through_sub_sentences(
    tiny_vocabulary: PieceVocabulary, made: tuple[TaggedExample, list[tuple[int, int]]], max_pieces: int
) -> None:
    example, words = made
    rows, counts = encode(BOTH, tiny_vocabulary, [example], max_pieces)

    (sentence,) = joined(rows)

    assert (sentence["id"], sentence["document"], sentence["words"]) == ("s", "d", words)
    read = [Span(*span) for span in sentence["spans"]]
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    on_bounds = [span for span in example.spans if span.start in starts and span.end in ends]
    alone = [
        span
        for span in on_bounds
        if not any(touched(span, words) & touched(other, words) for other in example.spans if other is not span)
    ]
    assert set(alone) <= set(read)
    if len(alone) == len(example.spans):
        assert read == sorted(example.spans)
    assert counts.mentions == len(example.spans)
    assert counts.mentions_off_word_bounds == len(example.spans) - len(on_bounds)
    assert counts.mentions_overlapped == len(example.spans) - len(read)
    assert counts.sentences_cut == (len(rows) > 1)
    firsts = {row["starts"][0] for row in rows[1:]}
    assert counts.mentions_cut == sum(span.start < first < span.end for span in read for first in firsts)
    blind, _ = encode(BOTH, tiny_vocabulary, [replace(example, spans=())], max_pieces, labels=False)
    assert [row["pieces"] for row in blind] == [row["pieces"] for row in rows], "the gold must not move the cuts"


@settings(deadline=None, max_examples=150)
@given(text=st.text("abrt, .()-é\u0301\tβλ12", max_size=150), offset=st.integers(0, 9), max_pieces=st.integers(8, 50))
def test_tagging_rows_point_at_the_words_of_the_document(
    tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase, text: str, offset: int, max_pieces: int
) -> None:
    document = "x" * offset + text
    rows, counts = encode(NER, tiny_vocabulary, [TaggedExample("s", "d", text, offset, ())], max_pieces)
    assert [row["id"] for row in rows] == [f"s#{number}" for number in range(len(rows))]
    covered = [word for row in rows for word in zip(row["starts"], row["ends"], strict=True)]
    assert "".join(document[start:end] for start, end in covered) == "".join(text.split())
    assert all(one[1] <= two[0] for one, two in pairwise(covered))
    lost = 0
    for row in rows:
        assert len(row["pieces"]) <= max_pieces
        assert (row["pieces"][0], row["pieces"][-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        expected = [tokenizer.cls_token_id]
        for start, end, position in zip(row["starts"], row["ends"], row["word_pieces"], strict=True):
            word = tokenizer(document[start:end], add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id]
            assert position == len(expected)
            expected += word[: max_pieces - 2]
            lost += max(0, len(word) - (max_pieces - 2))
        assert row["pieces"] == [*expected, tokenizer.sep_token_id]
        assert row["word_labels"] == [0] * len(row["starts"])
    assert counts.truncated_pieces == lost
    assert (counts.rows, counts.pieces) == (len(rows), sum(len(row["pieces"]) for row in rows))


def test_the_words_of_a_format_are_kept_and_those_without_pieces_are_unknown(
    tiny_vocabulary: PieceVocabulary, tokenizer: PreTrainedTokenizerBase
) -> None:
    text = "rat-mouse \u0301 of"
    example = TaggedExample("s", "d", text, 7, (Span(17, 18, "Disease"),), words=((7, 16), (17, 18), (19, 21)))
    (row,), _ = encode(NER, tiny_vocabulary, [example])
    first = tokenizer("rat-mouse", add_special_tokens=False)["input_ids"]
    of = tokenizer.convert_tokens_to_ids("of")
    cls, sep, unknown = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id
    assert row["pieces"] == [cls, *first, unknown, of, sep]
    assert row["word_pieces"] == [1, 1 + len(first), 2 + len(first)]
    assert row["word_labels"] == [0, 1, 0]


def test_a_word_longer_than_an_input_is_truncated_and_counted(tiny_vocabulary: PieceVocabulary) -> None:
    example = TaggedExample("s", "d", "of " + "x" * 30 + " of", 0, ())
    rows, counts = encode(NER, tiny_vocabulary, [example], 8)
    assert [len(row["pieces"]) for row in rows] == [3, 8, 3]
    assert (counts.truncated_examples, counts.truncated_pieces) == (1, 30 - 6)


def test_a_blank_that_a_pre_tokenizer_leaves_on_a_word_is_not_part_of_it(tiny_vocabulary: PieceVocabulary) -> None:
    byte_level = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    byte_level.pre_tokenizer = ByteLevel(add_prefix_space=False)
    vocabulary = replace(tiny_vocabulary, backend=byte_level)
    (row,), _ = encode(NER, vocabulary, [TaggedExample("s", "d", "a rat  ran ", 5, (Span(7, 10, "Disease"),))])
    assert list(zip(row["starts"], row["ends"], strict=True)) == [(5, 6), (7, 10), (12, 15)]
    assert row["word_labels"] == [0, 1, 0]


@pytest.mark.parametrize(
    ("task", "example"),
    [
        (STS, PairExample("p", "d", "a", "b", 2.0)),
        (NLI, PairExample("p", "d", "a", "b", NLI.labels[0])),
        (RELATION, relation("Lithium tremor", (0, 7), (8, 14))),
        (NER, TaggedExample("s", "d", "tremor", 0, (Span(0, 6, "Disease"),))),
    ],
    ids=["similarity", "inference", "relation", "tagging"],
)
def test_rows_of_a_sealed_split_hold_no_labels(tiny_vocabulary: PieceVocabulary, task: Task, example: Example) -> None:
    (open_row,), _ = encode(task, tiny_vocabulary, [example])
    (sealed,), counts = encode(task, tiny_vocabulary, [example], labels=False)
    assert set(open_row) - set(sealed) in ({"score"}, {"label"}, {"word_labels"})
    assert all(open_row[key] == value for key, value in sealed.items())  # type: ignore[literal-required]
    assert counts.mentions == 0


def test_rows_come_in_the_order_of_the_examples(tiny_vocabulary: PieceVocabulary) -> None:
    examples = [PairExample(str(number), "d", "a" * (number % 7), "b", 1.0) for number in range(1100)]
    rows, counts = encode(STS, tiny_vocabulary, examples)
    assert [row["id"] for row in rows] == [example.id for example in examples]
    assert counts.examples == counts.rows == 1100


def test_tagging_classes_are_o_then_b_and_i_of_each_type() -> None:
    assert iob2_classes(("Drug", "Problem")) == ["O", "B-Drug", "I-Drug", "B-Problem", "I-Problem"]
