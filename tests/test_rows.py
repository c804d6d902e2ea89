from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora.example import RelationExample, Span
from mtscale.corpora.tables import read_examples, read_gold
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Task

SIMILARITY, INFERENCE = TASKS["cdr-similarity"], TASKS["evidence-inference"]
RELATION = replace(TASKS["cdr-relation"], format="tsv", labels=("induces", "treats", "none"), relation=None)
HEAD = "index\tsentence1\tsentence2\tscore\n"
MASKED_HEAD = "index\tsentence\tlabel\n"
MARKED_HEAD = "text\tstart1\tend1\ttype1\tstart2\tend2\ttype2\tlabel\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "rows.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_what_a_table_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    def refused(task: Task) -> str:
        with pytest.raises(ConfigError, match=f"task {task.name}: ") as caught:
            read_examples(task, [tmp_path / "absent.tsv"])
        return str(caught.value)

    tagging = refused(replace(TASKS["cdr-disease"], format="tsv"))
    assert "not tagging" in tagging
    assert "conll" in tagging
    assert "found sentence1" in refused(replace(RELATION, columns={"sentence1": "a"}))
    assert "the roles index, document, sentence1" in refused(replace(INFERENCE, columns={"lable": "a"}))
    assert "found both" in refused(replace(RELATION, columns={"sentence": "a", "start1": "b"}))


def test_a_masked_relation_has_no_arguments_and_as_many_labels_as_rows(tmp_path: Path) -> None:
    text = f"{MASKED_HEAD}a\t@X$ hits @Y$\ttreats\nb\t@X$ and @Y$\tnone\na\t@X$ hits @Y$\tinduces\n"
    path = write(tmp_path, text)
    assert list(read_examples(RELATION, [path])) == [
        RelationExample("a", "a", "@X$ hits @Y$", 0, None, ("treats", "induces")),
        RelationExample("b", "b", "@X$ and @Y$", 0, None, ("none",)),
    ]
    assert {item.id: item.value for item in read_gold(RELATION, [path])} == {"a": ("treats", "induces"), "b": ("none",)}


def test_a_marked_relation_has_offsets_in_its_own_text(tmp_path: Path) -> None:
    text = f"{MARKED_HEAD}Zinc heals colds.\t11\t16\tDisease\t0\t4\tChemical\ttreats\n"
    (example,) = read_examples(RELATION, [write(tmp_path, text)])
    arguments = (Span(11, 16, "Disease"), Span(0, 4, "Chemical"))
    assert example == RelationExample("1", "1", "Zinc heals colds.", 0, arguments, ("treats",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tsent\tlabel\na\tSecretword\tnone\n", r":1: .*columns sentence, label; missing: sentence"),
        ("text\tlabel\nSecretword\tnone\n", r":1: .*missing: start1, end1, type1, start2, end2, type2"),
        (f"{MASKED_HEAD}a\tSecretword\tsomething\n", r":2: .*one of the labels induces, treats, none, found another"),
        (f"{MASKED_HEAD}a\tx\ttreats\na\tSecretword\tinduces\n", r":3: .*occurred before with other values"),
        (f"{MASKED_HEAD}a\tSecretword\ttreats\na\tSecretword\ttreats\n", r":3: .*occurred before with this label"),
        (f"{MASKED_HEAD}a\tSecretword\ttreats\na\tSecretword\tnone\n", r":3: .*one of them is none"),
        (f"{MASKED_HEAD}a\tSecretword\tnone\na\tSecretword\ttreats\n", r":3: .*one of them is none"),
        (f"{MARKED_HEAD}Secretword\t0\t6\tA\t6\t11\tB\tnone\n", r":2: .*<= 10 as start2 and end2, found 6 and 11"),
        (f"{MARKED_HEAD}Secretword\t6\t6\tA\t6\t10\tB\tnone\n", r":2: .*<= 10 as start1 and end1, found 6 and 6"),
        (f"{MARKED_HEAD}Secretword\t-1\t6\tA\t6\t10\tB\tnone\n", r":2: expected whole numbers .*as start1 and end1"),
        (f"{MARKED_HEAD}Secretword\t0\t٣\tA\t6\t10\tB\tnone\n", r":2: expected whole numbers .*as start1 and end1"),
        (f"{MARKED_HEAD}Secretword\t0\t6\tA\t6\t{'9' * 5000}\tB\tnone\n", r":2: expected whole numbers .*as start2"),
        (f"{MARKED_HEAD}Secretword\t0\t6\tA\ufeff\t6\t10\tB\tnone\n", r":2: expected printable .* in type1, found"),
        (f"{MARKED_HEAD}Secretword\t0\t6\t\t6\t10\tB\tnone\n", r":2: .*empty: type1"),
    ],
)
def test_malformed_relations_are_one_error_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_examples(RELATION, [write(tmp_path, text)]))


def test_a_task_may_choose_a_form_and_names_where_a_file_has_both(tmp_path: Path) -> None:
    head, cells = "sentence\ttext\ts\tend1\ttype1\tstart2\tend2\ttype2\tlabel\n", "@X$ y\tx y\t0\t1\tX\t2\t3\tY\tnone\n"
    path = write(tmp_path, head + cells)
    (masked,) = read_examples(RELATION, [path])
    (marked,) = read_examples(replace(RELATION, columns={"start1": "s"}), [path])
    assert masked == RelationExample("1", "1", "@X$ y", 0, None, ("none",))
    assert marked == RelationExample("1", "1", "x y", 0, (Span(0, 1, "X"), Span(2, 3, "Y")), ("none",))


def test_pairs_that_share_a_sentence_are_one_document_where_splits_are_drawn(tmp_path: Path) -> None:
    text = f"{HEAD}w\ta\tb\t1\nx\tc\td\t2\ny\te\tb\t3\nz\tf\tg\t4\n"
    path = write(tmp_path, text)

    def documents(task: Task) -> list[str]:
        return [example.document for example in read_examples(task, [path])]

    assert documents(SIMILARITY) == ["w", "x", "y", "z"]
    for drawing in (replace(SIMILARITY, folds=3), replace(SIMILARITY, dev_fraction=0.1)):
        assert documents(drawing) == ["w", "x", "w", "z"]
        assert [item.document for item in read_gold(drawing, [path])] == ["w", "x", "w", "z"]
    named = write(tmp_path, "document\tsentence1\tsentence2\tscore\nd1\ta\tb\t1\nd2\ta\tb\t2\n")
    assert [one.document for one in read_examples(replace(SIMILARITY, folds=3), [named])] == ["d1", "d2"]


WORD = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1).filter(str.strip)


@st.composite
def marked_relations(draw: st.DrawFn) -> list[RelationExample]:
    relations = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        text = draw(WORD)
        spans = []
        for _ in range(2):
            start = draw(st.integers(0, len(text) - 1))
            spans.append(Span(start, draw(st.integers(start + 1, len(text))), draw(WORD)))
        positive = st.lists(st.sampled_from(["induces", "treats"]), min_size=1, unique=True)
        labels = tuple(draw(st.one_of(st.just(["none"]), positive)))
        relations.append(RelationExample(f"r{number}", f"r{number}", text, 0, (spans[0], spans[1]), labels))
    return relations


def in_tsv(relations: Sequence[RelationExample]) -> str:
    lines = [f"index\t{MARKED_HEAD}"]
    for one in relations:
        assert one.arguments is not None
        spans = [str(cell) for span in one.arguments for cell in (span.start, span.end, span.label)]
        lines += ["\t".join([one.id, one.text, *spans, label]) + "\n" for label in one.labels]
    return "".join(lines)


@settings(deadline=None, max_examples=100)
@given(relations=marked_relations())
def test_relations_are_read_back(relations: list[RelationExample], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("relations"), in_tsv(relations))
    assert list(read_examples(RELATION, [path])) == relations
