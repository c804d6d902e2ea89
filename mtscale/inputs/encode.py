"""Examples to word pieces, as in section 3 of the paper.

Pairs are packed as ``[CLS] first [SEP] second [SEP]`` and truncated one piece at a time from the longer text. The
two arguments of a relation are replaced by their types (``@CHEMICAL$``). Sentences to tag are cut into sub-sentences
of at most 30 words (a habit of BioBERT and BlueBERT) and of no more pieces than fit, without a look at the gold; the
first piece of each word carries its label. The ``paper`` protocol does some of this as the authors' code does
(``PaperSettings``). Nothing is lost silently: what is cut or dropped is counted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypedDict

from tokenizers import Encoding, Tokenizer

from mtscale.corpora.example import Example, PairExample, RelationExample, Span, TaggedExample
from mtscale.corpora.tags import iob2_classes, tag_words
from mtscale.metrics.spans import PIECE_CLASSES
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.tasks import Kind, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_WORDS = 30
_CHUNK = 512
_MARK = re.compile(r"@[^\s@$]+\$")


class Row(TypedDict, total=False):
    """One input of the encoder. ``second`` is where the second text begins (0: there is none).

    Tagging rows are sub-sentences: ``word_pieces`` holds the position of each word's first piece, ``starts`` and
    ``ends`` the words' document offsets, ``word_labels`` their IOB2 classes (or ``piece_labels`` those of all pieces).
    Labels are absent from test rows.
    """

    id: str
    document: str
    pieces: list[int]
    second: int
    score: float
    label: int
    word_pieces: list[int]
    starts: list[int]
    ends: list[int]
    word_labels: list[int]
    piece_labels: list[int]


@dataclass
class EncodingCounts:
    """What encoding a split met, cut and dropped."""

    examples: int = 0
    rows: int = 0
    pieces: int = 0
    truncated_examples: int = 0
    truncated_pieces: int = 0
    arguments_cut_off: int = 0
    sentences_cut: int = 0
    mentions: int = 0
    mentions_cut: int = 0
    mentions_off_word_bounds: int = 0
    mentions_overlapped: int = 0
    rows_dropped: int = 0
    mentions_dropped: int = 0

    def __add__(self, other: EncodingCounts) -> EncodingCounts:
        return EncodingCounts(**{name: count + getattr(other, name) for name, count in asdict(self).items()})

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True)
class PieceVocabulary:
    """What encoding needs of a tokenizer: its fast backend and the ids of its special pieces."""

    backend: Tokenizer
    cls_id: int
    sep_id: int
    unknown_id: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> PieceVocabulary:
        """That of a fast tokenizer with BERT's special pieces."""
        return cls(
            backend=tokenizer.backend_tokenizer,
            cls_id=tokenizer.cls_token_id,
            sep_id=tokenizer.sep_token_id,
            unknown_id=tokenizer.unk_token_id,
        )


class TaskEncoder:
    """Encodes the examples of one task; ``counts`` grows while rows are drawn.

    ``with_labels`` is false for a sealed split: its rows then hold no gold, and gold-dependent counts stay 0.
    ``procedure`` says what is done as the authors do; its ``gold_aware`` cut looks at the gold of a sealed split too.
    Where it drops what is too long, rows of more than ``max_pieces`` are dropped (training), or with ``whole`` kept up
    to so many pieces (evaluation).
    """

    def __init__(
        self,
        task: Task,
        vocabulary: PieceVocabulary,
        max_pieces: int,
        *,
        with_labels: bool,
        procedure: PaperSettings = CLEAN_PROCEDURE,
        whole: int | None = None,
    ) -> None:
        self.task = task
        self.vocabulary = vocabulary
        self.max_pieces = max_pieces
        self.with_labels = with_labels
        self.procedure = procedure
        self.counts = EncodingCounts()
        self._drops = procedure.too_long == "drop" and whole is None
        # The pieces of a sub-sentence: where what is too long is dropped, nothing makes it shorter.
        longest = max_pieces if procedure.too_long == "cut" else sys.maxsize if whole is None else whole
        self._room = longest - 2
        classes = [*iob2_classes(task.labels), *PIECE_CLASSES] if task.kind is Kind.TAGGING else task.labels
        self._class_ids = {label: index for index, label in enumerate(classes)}

    def rows(self, examples: Iterable[Example]) -> Iterator[Row]:
        """The rows of the examples, in order."""
        for chunk in _chunks(examples):
            self.counts.examples += len(chunk)
            for row in self._encode(chunk):
                self.counts.rows += 1
                self.counts.pieces += len(row["pieces"])
                yield row

    def _encode(self, chunk: Sequence[Example]) -> Iterator[Row]:
        pairs = [example for example in chunk if isinstance(example, PairExample)]
        relations = [example for example in chunk if isinstance(example, RelationExample)]
        tagged = [example for example in chunk if isinstance(example, TaggedExample)]
        yield from self._encode_pairs(pairs)
        yield from self._encode_relations(relations)
        for example in tagged:
            yield from self._encode_tagged(example)

    def _tokenize(self, texts: list[str]) -> list[Encoding]:
        return self.vocabulary.backend.encode_batch(texts, add_special_tokens=False)

    def _encode_pairs(self, examples: Sequence[PairExample]) -> Iterator[Row]:
        firsts = self._tokenize([example.first for example in examples])
        seconds = self._tokenize([example.second for example in examples])
        cls, sep = self.vocabulary.cls_id, self.vocabulary.sep_id
        for example, first, second in zip(examples, firsts, seconds, strict=True):
            lengths = len(first.ids), len(second.ids)
            keep_first, keep_second = truncate_pair(*lengths, self.max_pieces - 3)
            self._count_truncation(sum(lengths) - keep_first - keep_second)
            texts = [first.ids[:keep_first], second.ids[:keep_second]]
            if self.procedure.pair_order == "second_first":
                texts.reverse()
            head = [cls, *texts[0], sep]
            row = Row(id=example.id, document=example.document, pieces=[*head, *texts[1], sep], second=len(head))
            if self.with_labels:
                if isinstance(example.label, str):
                    row["label"] = self._class_ids[example.label]
                else:
                    row["score"] = example.label
            yield row

    def _encode_relations(self, examples: Sequence[RelationExample]) -> Iterator[Row]:
        mark = surround_arguments if self.task.marking == "typed_markers" else mask_arguments
        masked = [mark(example) for example in examples]
        encodings = self._tokenize([text for text, _ in masked])
        room = self.max_pieces - 2
        for example, (_, last_mark), encoding in zip(examples, masked, encodings, strict=True):
            ids = encoding.ids[:room]
            cut = len(encoding.ids) - len(ids)
            self._count_truncation(cut)
            if cut and encoding.offsets[room - 1][1] < last_mark:
                self.counts.arguments_cut_off += 1
            row = Row(
                id=example.id,
                document=example.document,
                pieces=[self.vocabulary.cls_id, *ids, self.vocabulary.sep_id],
                second=0,
            )
            if self.with_labels:
                row["label"] = self._class_ids[example.labels[0]]
            yield row

    def _encode_tagged(self, example: TaggedExample) -> Iterator[Row]:
        words = example.words if example.words is not None else self._split_words(example)
        pieces = self._word_pieces(example, words)
        tags = self._tag(words, example.spans) if self.with_labels else []
        bounds = self._bounds(example, words, [len(ids) for ids in pieces])
        self.counts.sentences_cut += len(bounds) > 1
        for number, (first, last) in enumerate(bounds):
            if self._drops and 2 + sum(map(len, pieces[first:last])) > self.max_pieces:
                self.counts.rows_dropped += 1
                self.counts.mentions_dropped += sum(tag.startswith("B") for tag in tags[first:last])
                continue
            ids = [self.vocabulary.cls_id]
            word_pieces = []
            for word in range(first, last):
                word_pieces.append(len(ids))
                ids.extend(pieces[word])
            row = Row(
                id=f"{example.id}#{number}",
                document=example.document,
                pieces=[*ids, self.vocabulary.sep_id],
                second=0,
                word_pieces=word_pieces,
                starts=[start for start, _ in words[first:last]],
                ends=[end for _, end in words[first:last]],
            )
            if self.with_labels:
                self._add_tags(row, tags[first:last])
            yield row

    def _add_tags(self, row: Row, tags: Sequence[str]) -> None:
        self.counts.mentions_cut += tags[0].startswith("I")
        if self.procedure.tag_classes == "words":
            row["word_labels"] = [self._class_ids[tag] for tag in tags]
            return
        of_pieces = ["CLS", *["X"] * (len(row["pieces"]) - 2), "SEP"]
        for piece, tag in zip(row["word_pieces"], tags, strict=True):
            of_pieces[piece] = tag
        row["piece_labels"] = [self._class_ids[tag] for tag in of_pieces]

    def _bounds(
        self, example: TaggedExample, words: Sequence[tuple[int, int]], pieces: Sequence[int]
    ) -> list[tuple[int, int]]:
        """The sub-sentences as ``[first, last)`` words."""
        texts = [example.text[start - example.offset : end - example.offset] for start, end in words]
        parts = [(0, len(words))]
        if self.procedure.cut == "gold_aware":
            parts = cut_after_outside(tag_words(words, example.spans))
        return [
            (start + first, start + last)
            for start, end in parts
            for first, last in cut_words(texts[start:end], pieces[start:end], self._room)
        ]

    def _split_words(self, example: TaggedExample) -> tuple[tuple[int, int], ...]:
        """The words of the encoder's own pre-tokenizer, in document offsets, without blanks at their ends."""
        splitter = self.vocabulary.backend.pre_tokenizer
        assert splitter is not None
        words = []
        for _, (start, end) in splitter.pre_tokenize_str(example.text):
            raw = example.text[start:end]
            start += len(raw) - len(raw.lstrip())
            end -= len(raw) - len(raw.rstrip())
            if start < end:
                words.append((example.offset + start, example.offset + end))
        return tuple(words)

    def _word_pieces(self, example: TaggedExample, words: Sequence[tuple[int, int]]) -> list[list[int]]:
        """The pieces of each word; at least one, and never more than there is room for."""
        texts = [example.text[start - example.offset : end - example.offset] for start, end in words]
        encoding = self.vocabulary.backend.encode(texts, is_pretokenized=True, add_special_tokens=False)
        pieces: list[list[int]] = [[] for _ in words]
        for word, piece in zip(encoding.word_ids, encoding.ids, strict=True):
            if word is not None:
                pieces[word].append(piece)
        self._count_truncation(sum(max(0, len(ids) - self._room) for ids in pieces))
        return [ids[: self._room] or [self.vocabulary.unknown_id] for ids in pieces]

    def _tag(self, words: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[str]:
        tags = tag_words(words, spans)
        starts, ends = {start for start, _ in words}, {end for _, end in words}
        self.counts.mentions += len(spans)
        self.counts.mentions_off_word_bounds += sum(span.start not in starts or span.end not in ends for span in spans)
        self.counts.mentions_overlapped += len(spans) - sum(tag.startswith("B") for tag in tags)
        return tags

    def _count_truncation(self, pieces: int) -> None:
        self.counts.truncated_examples += pieces > 0
        self.counts.truncated_pieces += pieces


def truncate_pair(first: int, second: int, room: int) -> tuple[int, int]:
    """How many pieces of each text stay when one at a time is taken from the longer (of equals: the second)."""
    excess = max(0, first + second - room)
    from_longer = min(excess, abs(first - second))
    if first > second:
        first -= from_longer
    else:
        second -= from_longer
    rest = excess - from_longer
    return first - rest // 2, second - (rest - rest // 2)


def mask_arguments(example: RelationExample) -> tuple[str, int]:
    """The sentence with its arguments replaced by ``@TYPE$`` (overlapping ones by ``@TYPE-TYPE$``).

    A sentence that the format has masked stays as it is.

    Returns:
        The masked sentence and the position in it where the last mark ends.
    """
    if example.arguments is None:
        return example.text, max((mark.end() for mark in _MARK.finditer(example.text)), default=0)
    one, two = sorted(example.arguments, key=lambda span: (span.start, span.end))
    if two.start < one.end:
        merged = Span(one.start, max(one.end, two.end), "-".join(span.label for span in example.arguments))
        marks = [merged]
    else:
        marks = [one, two]
    text = ""
    position = example.offset
    for mark in marks:
        text += example.text[position - example.offset : mark.start - example.offset] + f"@{mark.label.upper()}$"
        position = mark.end
    return text + example.text[position - example.offset :], len(text)


def surround_arguments(example: RelationExample) -> tuple[str, int]:
    """The sentence with typed markers around its arguments: ``@ * chemical * iron @``, ``# ^ disease ^ tremor #``.

    The model sees the mentions themselves, and which is the first argument. Markers are ordinary punctuation, so that
    no vocabulary grows (Zhou and Chen 2022, "typed entity marker (punct)", doi:10.18653/v1/2022.aacl-short.21).

    Returns:
        The marked sentence and the position in it where the last marker ends.
    """
    if example.arguments is None:
        return mask_arguments(example)
    insertions: list[tuple[int, int, str]] = []
    for order, (argument, outer, inner) in enumerate(zip(example.arguments, "@#", "*^", strict=True)):
        kind = argument.label.lower()
        start, end = argument.start - example.offset, argument.end - example.offset
        # At one position what ends stands before what begins.
        insertions += [(start, 2 + order, f" {outer} {inner} {kind} {inner} "), (end, 1 - order, f" {outer} ")]
    text, position, last = "", 0, 0
    for at, _, marker in sorted(insertions):
        text += example.text[position:at] + marker
        position, last = at, len(text)
    return text + example.text[position:], last


_BREAKS = frozenset(",;:)]")


def cut_words(words: Sequence[str], pieces: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Cut a sentence into sub-sentences ``[first, last)`` of at most 30 words and ``room`` pieces.

    A sentence that is too long is cut after the last comma, semicolon, colon or closing bracket in the second half of
    what fits, else where it no longer fits. The gold is not looked at (the authors' code is: it cuts at an O tag).
    """
    bounds: list[tuple[int, int]] = []
    first = 0
    while first < len(words):
        # A sub-sentence has at least one word, whatever that word's length.
        last, used = first + 1, pieces[first]
        while last < len(words) and last - first < MAX_WORDS and used + pieces[last] <= room:
            used += pieces[last]
            last += 1
        if last < len(words):
            middle = first + (last - first) // 2
            breaks = [index + 1 for index in range(middle, last) if words[index] in _BREAKS]
            last = breaks[-1] if breaks else last
        bounds.append((first, last))
        first = last
    return bounds


def cut_after_outside(tags: Sequence[str]) -> list[tuple[int, int]]:
    """Cut a sentence into sub-sentences ``[first, last)`` of at most 30 words where its gold lets no mention be cut.

    A sub-sentence ends with the last O of the 30 words that fit, or after one word if none of them is O:
    ``split_if_longer`` of the authors' blue_prepro_std.py, which does so on test too.
    """
    bounds: list[tuple[int, int]] = []
    first = 0
    while len(tags) - first > MAX_WORDS:
        outside = [word for word in range(first, first + MAX_WORDS) if tags[word] == "O"]
        last = (outside[-1] if outside else first) + 1
        bounds.append((first, last))
        first = last
    return [*bounds, (first, len(tags))] if first < len(tags) else bounds


def _chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    for example in examples:
        chunk.append(example)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
