"""Every fault that can be planted in a corpus without one, and the findings it has to give: these and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mtscale.checks.check import Check, Checked
from mtscale.corpora import catalogue
from mtscale.corpora import conll as conll_format
from mtscale.corpora.example import SPLITS, Span, TaggedExample
from mtscale.inputs.encode import PieceVocabulary
from mtscale.tasks import Task
from tests.planted import SIZE, Corpus, clean, conll, pair, pubtator, sentence, words

Found = tuple[str, str, str, str, int]
MAX_PIECES = 160


def check(corpus: Corpus, folder: Path, vocabulary: PieceVocabulary) -> Checked:
    root = corpus.write(folder)
    return Check("planted", corpus.tasks, root, "tiny", MAX_PIECES, vocabulary).run()


def found(checked: Checked) -> list[Found]:
    return sorted((one.severity.value, one.check, one.task, one.split, one.count) for one in checked.findings)


def test_a_clean_corpus_has_no_findings(tmp_path: Path, tiny_vocabulary: PieceVocabulary) -> None:
    checked = check(clean(), tmp_path, tiny_vocabulary)
    assert checked.findings == ()
    assert checked.exit_code == 0
    assert len(checked.splits) == 15
    assert {facts.counts.examples for facts in checked.splits if facts.task.name != "rel"} == {SIZE, 2 * SIZE}


def with_task(corpus: Corpus, name: str, **changes: object) -> Corpus:
    tasks = [replace(task, **changes) if task.name == name else task for task in corpus.tasks]  # type: ignore[arg-type]
    return Corpus(tuple(tasks), corpus.files)


def task(corpus: Corpus, name: str) -> Task:
    return next(task for task in corpus.tasks if task.name == name)


def edit(corpus: Corpus, name: str, old: str, new: str) -> Corpus:
    """Replace the first place of a text in a file."""
    text = "\n".join(corpus.files[name])
    assert old in text
    return Corpus(corpus.tasks, {**corpus.files, name: text.replace(old, new, 1).split("\n")})


def add(corpus: Corpus, name: str, lines: list[str]) -> Corpus:
    return Corpus(corpus.tasks, {**corpus.files, name: corpus.files[name] + lines})


def wrong_offset(corpus: Corpus) -> Corpus:
    lines = corpus.files["bio/dev.txt"]
    start = lines[2].split("\t")[1]
    return edit(corpus, "bio/dev.txt", f"\t{start}\t", f"\t{int(start) + 1}\t")


def unknown_label(corpus: Corpus) -> Corpus:
    return edit(corpus, "nli/test.txt", "\tyes", "\tqsecret")


def missing_file(corpus: Corpus) -> Corpus:
    return Corpus(corpus.tasks, {name: lines for name, lines in corpus.files.items() if name != "sts/dev.txt"})


def no_examples(corpus: Corpus) -> Corpus:
    return with_task(corpus, "rel", arguments=("Chemical", "Gene"))


def inside_after_outside(corpus: Corpus) -> Corpus:
    first, second = words("ner train 3 1")[:2]
    corpus = edit(corpus, "ner/train.txt", f"{first}\tO", f"{first}\tI-Drug")
    return edit(corpus, "ner/train.txt", f"{second}\tO", f"{second}\tI-Drug")


def label_of_no_split(corpus: Corpus) -> Corpus:
    return with_task(corpus, "nli", labels=("yes", "no", "maybe"))


def class_only_in_test(corpus: Corpus) -> Corpus:
    return edit(label_of_no_split(corpus), "nli/test.txt", "\tyes", "\tmaybe")


def drift(corpus: Corpus) -> Corpus:
    lines = [line.replace("\tno", "\tyes") for line in corpus.files["nli/test.txt"]]
    return Corpus(corpus.tasks, {**corpus.files, "nli/test.txt": lines})


def drift_of_scores(corpus: Corpus) -> Corpus:
    header, *rows = corpus.files["sts/test.txt"]
    lines = [header, *(row.rpartition("\t")[0] + "\t4.5" for row in rows)]
    return Corpus(corpus.tasks, {**corpus.files, "sts/test.txt": lines})


def long_pair(corpus: Corpus) -> Corpus:
    return add(corpus, "sts/train.txt", [f"99\t{sentence('long', 30)}\t{sentence('other')}\t2.5"])


def far_argument(corpus: Corpus) -> Corpus:
    first, *_, last = words("abstract bio train 0")
    text = f"{first.capitalize()} {' '.join(words('far', 40))} {last}."
    title = sentence("title bio train 0") + "."
    start, end = len(title) + 1, len(title) + len(text)
    lines = [
        f"bio-train0|t|{title}",
        f"bio-train0|a|{text}",
        f"bio-train0\t{start}\t{start + len(first)}\t{first.capitalize()}\tChemical\tC1",
        f"bio-train0\t{end - len(last)}\t{end}\t{last}\tDisease\tD1",
        "bio-train0\tCID\tC1\tD1",
        "",
    ]
    return Corpus(corpus.tasks, {**corpus.files, "bio/train.txt": lines + corpus.files["bio/train.txt"][6:]})


def mention_too_long(corpus: Corpus) -> Corpus:
    tokens = words("too long", 40)
    lines = ["-DOCSTART- (long)", "", f"{tokens[0]}\tB-Drug", *(f"{token}\tI-Drug" for token in tokens[1:]), ""]
    return add(corpus, "ner/dev.txt", lines)


def spanned(corpus: Corpus, start: int, end: int, name: str = "bio/test.txt") -> Corpus:
    """One more chemical in the first document of a file."""
    title, abstract, first = corpus.files[name][:3]
    text = f"{title.split('|')[2]} {abstract.split('|')[2]}"
    base = int(first.split("\t")[1])
    identifier = title.split("|")[0]
    stretch = base + start, base + end
    line = f"{identifier}\t{stretch[0]}\t{stretch[1]}\t{text[slice(*stretch)]}\tChemical\tC9"
    return edit(corpus, name, first, f"{first}\n{line}")


def mention_inside_a_word(corpus: Corpus) -> Corpus:
    return spanned(corpus, 8, 12)


def overlapping_mentions(corpus: Corpus) -> Corpus:
    return spanned(spanned(corpus, 8, 23), 16, 31)


def mention_over_a_sentence_end(corpus: Corpus) -> Corpus:
    return spanned(corpus, -5, 15)


def repeated_sentence(corpus: Corpus) -> Corpus:
    again = [f"{word}\tO" for word in words("ner train 4 1")]
    return add(corpus, "ner/test.txt", ["-DOCSTART- (new)", "", *again, "", *conll("x", "new")[2:]])


def short_repeated_sentence(corpus: Corpus) -> Corpus:
    for name in ("ner/train.txt", "ner/dev.txt"):
        corpus = add(corpus, name, [f"-DOCSTART- ({name[4:-4]}-s)", "", "Qshort\tO", "qtext\tO", "qhere\tO", ""])
    return corpus


def near_sentence(corpus: Corpus) -> Corpus:
    for name, last in (("ner/train.txt", "qone"), ("ner/dev.txt", "qother")):
        lines = [f"{word}\tO" for word in [*words("near", 20), last]]
        corpus = add(corpus, name, [f"-DOCSTART- (near-{last})", "", *lines, "", *conll("x", last)[2:]])
    return corpus


def repeated_inside_train(corpus: Corpus) -> Corpus:
    again = [f"{word}\tO" for word in words("ner train 4 1")]
    return add(corpus, "ner/train.txt", ["-DOCSTART- (new)", "", *again, "", *conll("x", "new")[2:]])


def repeated_document(corpus: Corpus) -> Corpus:
    return add(corpus, "ner/test.txt", conll("copy", "ner train 5"))


def shared_id(corpus: Corpus) -> Corpus:
    return add(corpus, "ner/test.txt", conll("train5", "other text"))


def repeated_pair(corpus: Corpus) -> Corpus:
    return add(corpus, "nli/dev.txt", [pair("nli train 7", 77, "no")])


def shared_premise(corpus: Corpus) -> Corpus:
    lines = [f"70\t{sentence('first nli train 2')}\t{sentence('new')}\tyes"]
    return add(corpus, "nli/test.txt", lines)


def repeated_premise_inside_train(corpus: Corpus) -> Corpus:
    lines = [f"70\t{sentence('first nli train 2').upper()}\t{sentence('new')}\tyes"]
    return add(corpus, "nli/train.txt", lines)


def text_of_another_task(corpus: Corpus) -> Corpus:
    lines = [f"70\t{' '.join(words('ner train 4 1'))}\t{sentence('new')}\tyes"]
    return add(corpus, "nli/test.txt", lines)


def swapped_splits(corpus: Corpus) -> Corpus:
    files = {"train": ("test.txt",), "dev": ("dev.txt",), "test": ("train.txt",)}
    swap = replace(task(corpus, "chem"), name="swap", files=files)
    return Corpus((task(corpus, "chem"), swap), corpus.files)


def id_of_another_corpus(corpus: Corpus) -> Corpus:
    return add(corpus, "ner/test.txt", conll("bio-train5", "other text"))


def other_class(corpus: Corpus) -> Corpus:
    return add(corpus, "nli/train.txt", [pair("nli train 7", 77, "yes")])


def other_score_in_other_order(corpus: Corpus) -> Corpus:
    first, second = sentence("first sts train 0"), sentence("second sts train 0")
    return add(corpus, "sts/train.txt", [f"77\t{second}\t{first}\t4.5"])


def close_score(corpus: Corpus) -> Corpus:
    return add(corpus, "sts/train.txt", [pair("sts train 0", 77, "0.8")])


def other_relation(corpus: Corpus) -> Corpus:
    return add(corpus, "bio/train.txt", pubtator("copy", "bio train 0", related=False))


def other_tags(corpus: Corpus) -> Corpus:
    again = [f"{word}\tO" for word in words("ner train 4 0")]
    return add(corpus, "ner/train.txt", ["-DOCSTART- (new)", "", *again, "", *conll("x", "new")[2:]])


PLANTED: list[tuple[Callable[[Corpus], Corpus], list[Found]]] = [
    (wrong_offset, [("error", "unreadable", "chem", "dev", 1), ("error", "unreadable", "rel", "dev", 1)]),
    (unknown_label, [("error", "unreadable", "nli", "test", 1)]),
    (missing_file, [("error", "unreadable", "sts", "dev", 1)]),
    (
        no_examples,
        [
            *(("error", "examples", "rel", split, 0) for split in ("dev", "test", "train")),
            *[("warning", "labels", "rel", "all", 1)] * 2,
        ],
    ),
    (inside_after_outside, [("warning", "tags", "ner", "train", 1)]),
    (label_of_no_split, [("warning", "labels", "nli", "all", 1)]),
    (class_only_in_test, [("warning", "labels", "nli", "test", 1)]),
    (drift, [("warning", "drift", "nli", "test", SIZE)]),
    (drift_of_scores, [("warning", "drift", "sts", "test", SIZE)]),
    (long_pair, [("warning", "length", "sts", "train", 1)]),
    (far_argument, [("warning", "length", "rel", "train", 1), ("warning", "length", "rel", "train", 1)]),
    (mention_too_long, [("warning", "mentions", "ner", "dev", 1)]),
    (mention_inside_a_word, [("warning", "mentions", "chem", "test", 1)]),
    (overlapping_mentions, [("warning", "mentions", "chem", "test", 1)]),
    (mention_over_a_sentence_end, [("warning", "gold", "chem", "test", 1)]),
    (repeated_sentence, [("warning", "duplicates", "ner", "test", 1)]),
    (short_repeated_sentence, []),
    (near_sentence, [("warning", "duplicates", "ner", "dev", 1)]),
    (repeated_inside_train, [("note", "duplicates", "ner", "train", 1)]),
    (repeated_document, [("warning", "duplicates", "ner", "test", 1), ("warning", "duplicates", "ner", "test", 2)]),
    (shared_id, [("warning", "documents", "ner", "test", 1)]),
    (id_of_another_corpus, [("note", "documents", "ner", "test", 1)] * 2),
    (repeated_pair, [("warning", "duplicates", "nli", "dev", 1), ("warning", "duplicates", "nli", "dev", 2)]),
    (shared_premise, [("warning", "duplicates", "nli", "test", 1)]),
    (repeated_premise_inside_train, []),
    (text_of_another_task, [("warning", "duplicates", "nli", "test", 1)]),
    (
        swapped_splits,
        [
            *(("warning", "documents", task, "test", SIZE) for task in ("chem", "swap")),
            *(
                ("warning", "duplicates", task, "test", count)
                for task in ("chem", "swap")
                for count in (SIZE, 2 * SIZE)
            ),
        ],
    ),
    (other_class, [("note", "duplicates", "nli", "train", 1), ("warning", "conflicts", "nli", "train", 2)]),
    (
        other_score_in_other_order,
        [("note", "duplicates", "sts", "train", 1), ("warning", "conflicts", "sts", "train", 2)],
    ),
    (close_score, [("note", "duplicates", "sts", "train", 1)]),
    (
        other_relation,
        [
            *(("note", "duplicates", task, "train", count) for task, count in (("chem", 1), ("chem", 2), ("rel", 1))),
            ("note", "duplicates", "rel", "train", 1),
            ("warning", "conflicts", "rel", "train", 2),
        ],
    ),
    (other_tags, [("note", "duplicates", "ner", "train", 1), ("warning", "conflicts", "ner", "train", 2)]),
]


@pytest.mark.parametrize(("plant", "expected"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_fault_is_found_with_its_count(
    plant: Callable[[Corpus], Corpus], expected: list[Found], tmp_path: Path, tiny_vocabulary: PieceVocabulary
) -> None:
    checked = check(plant(clean()), tmp_path, tiny_vocabulary)
    assert found(checked) == sorted(expected)
    assert checked.exit_code == (3 if any(one[0] == "error" for one in expected) else 0)
    assert not any(word.startswith("q") for one in checked.findings for word in one.what.lower().split())


def test_what_a_reader_gives_passes_the_conformance_suite_or_is_an_error(
    tmp_path: Path, tiny_vocabulary: PieceVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beyond_its_sentence(task: Task, paths: Sequence[Path]) -> Iterator[TaggedExample]:
        for number, example in enumerate(conll_format.read_examples(task, paths)):
            end = example.offset + len(example.text)
            yield replace(example, spans=(Span(end, end + 1, "Drug"),)) if number < 2 else example

    monkeypatch.setitem(catalogue.READERS, "conll", catalogue.READERS["conll"]._replace(examples=beyond_its_sentence))
    checked = check(clean(), tmp_path, tiny_vocabulary)
    conformance = [one for one in checked.findings if one.check == "conformance"]
    outside = "examples with a mention that is empty or outside of the sentence"
    assert {(one.split, one.count, one.ids) for one in conformance if one.what == outside} == {
        (split, 2, (f"{split}0.s0", f"{split}0.s1")) for split in SPLITS
    }
    assert checked.exit_code == 3
