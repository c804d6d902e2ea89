from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.chemprot import read_documents, read_examples, read_gold
from mtscale.corpora.example import Example, RelationExample, Span, SplitName, TaggedExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Kind, Task
from tests.costs import cost

CORPORA = os.environ.get("MTSCALE_TEST_CORPORA")
TASK = TASKS["chemprot"]
TAGGING = replace(TASK, kind=Kind.TAGGING, labels=("CHEMICAL", "GENE"), negative=None, arguments=None)

ABSTRACTS = (
    "12\tNaïve GENA study.\tZinc blocks GENA and GENB by zinc oxide. Secretword raises GENA.\n"
    "7\tNo mentions.\tNothing here.\n"
)
ENTITIES = (
    "12\tT1\tCHEMICAL\t18\t22\tZinc\n"
    "12\tT2\tCHEMICAL\t47\t57\tzinc oxide\n"
    "12\tT3\tCHEMICAL\t59\t69\tSecretword\n"
    "12\tT10\tGENE-Y\t6\t10\tGENA\n"
    "12\tT11\tGENE-Y\t30\t34\tGENA\n"
    "12\tT12\tGENE-N\t39\t43\tGENB\n"
    "12\tT13\tGENE-N\t77\t81\tGENA\n"
    "12\tT14\tGENE-N\t47\t51\tzinc\n"
)
GOLD = (
    "12\tCPR:9\tArg1:T1\tArg2:T11\n"
    "12\tCPR:4\tArg1:T1\tArg2:T11\n"
    "12\tCPR:3\tArg1:T3\tArg2:T13\n"
    "12\tCPR:6\tArg1:T3\tArg2:T10\n"
    "12\tCPR:1\tArg1:T2\tArg2:T12\n"
)
NAMES = ("chemprot_test_gs_abstracts.tsv", "chemprot_test_gs_entities.tsv", "chemprot_test_gs_gold_standard.tsv")


def write(
    folder: Path,
    abstracts: str | bytes = ABSTRACTS,
    entities: str | bytes = ENTITIES,
    gold: str | bytes = GOLD,
    names: tuple[str, ...] = NAMES,
) -> Path:
    for name, content in zip(names, (abstracts, entities, gold), strict=True):
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_reads_documents_mentions_and_relations(tmp_path: Path) -> None:
    first, second = read_documents(write(tmp_path))
    assert first.id == "12"
    assert first.text == "Naïve GENA study. Zinc blocks GENA and GENB by zinc oxide. Secretword raises GENA."
    assert first.title_end == 17
    assert first.mentions[:4] == (
        Mention(18, 22, "CHEMICAL", ("T1",)),
        Mention(47, 57, "CHEMICAL", ("T2",)),
        Mention(59, 69, "CHEMICAL", ("T3",)),
        Mention(6, 10, "GENE", ("T10",)),
    )
    assert first.relations[0] == Relation("CPR:9", "T1", "T11")
    assert second == Document("7", "No mentions. Nothing here.", 12, (), ())


PAIRS = {
    "12.T1.T11": ("CPR:4", "CPR:9"),
    "12.T1.T12": ("false",),
    "12.T1.T14": ("false",),
    "12.T2.T11": ("false",),
    "12.T2.T12": ("false",),
    "12.T2.T14": ("false",),
    "12.T3.T13": ("CPR:3",),
}


def test_candidates_are_the_pairs_in_a_sentence_also_where_they_overlap(tmp_path: Path) -> None:
    examples = list(read_examples(TASK, [write(tmp_path)]))
    assert {one.id: one.labels for one in examples if isinstance(one, RelationExample)} == PAIRS
    assert examples[5:] == [
        RelationExample(
            "12.T2.T14",
            "12",
            "Zinc blocks GENA and GENB by zinc oxide.",
            18,
            (Span(47, 57, "CHEMICAL"), Span(47, 51, "GENE")),
            ("false",),
        ),
        RelationExample(
            "12.T3.T13",
            "12",
            "Secretword raises GENA.",
            59,
            (Span(59, 69, "CHEMICAL"), Span(77, 81, "GENE")),
            ("CPR:3",),
        ),
    ]


def test_a_related_pair_without_a_common_sentence_is_in_the_gold_alone(tmp_path: Path) -> None:
    gold = list(read_gold(TASK, [write(tmp_path)]))
    assert {item.id: item.value for item in gold} == {**PAIRS, "12.T3.T10": ("CPR:6",)}
    assert {item.document for item in gold} == {"12"}
    assert len(gold) == 8


@pytest.mark.parametrize("labels", [("CPR:4", "CPR:9", "false"), ("CPR:9", "false", "CPR:4")])
def test_a_pair_with_two_relations_keeps_them_in_the_order_of_the_labels(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    gold = {item.id: item.value for item in read_gold(replace(TASK, labels=labels), [write(tmp_path)])}
    assert gold["12.T1.T11"] == tuple(label for label in labels if label != "false")


def test_groups_that_are_no_labels_of_the_task_are_not_counted(tmp_path: Path) -> None:
    task = replace(TASK, labels=("none", "CPR:3", "CPR:9"), negative="none")
    gold = {item.id: item.value for item in read_gold(task, [write(tmp_path)])}
    assert gold == {**dict.fromkeys(PAIRS, ("none",)), "12.T1.T11": ("CPR:9",), "12.T3.T13": ("CPR:3",)}


def test_mentions_can_be_tagged(tmp_path: Path) -> None:
    write(tmp_path)
    examples = list(read_examples(replace(TAGGING, labels=("GENE",)), [tmp_path]))
    assert examples[1] == TaggedExample(
        "12.s1",
        "12",
        "Zinc blocks GENA and GENB by zinc oxide.",
        18,
        (Span(30, 34, "GENE"), Span(39, 43, "GENE"), Span(47, 51, "GENE")),
    )
    gold = {item.id: item.value for item in read_gold(TAGGING, [tmp_path])}
    assert gold["7"] == frozenset()
    assert isinstance(gold["12"], frozenset)
    assert len(gold["12"]) == 8


@pytest.mark.parametrize(
    "names",
    [
        ("chemprot_test_abstracts_gs.tsv", "chemprot_test_entities_gs.tsv", "chemprot_test_gold_standard.tsv"),
        ("chemprot_training_abstracts.tsv", "chemprot_training_entities.tsv", "chemprot_training_gold_standard.tsv"),
    ],
)
def test_files_are_found_by_the_words_in_their_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path, names=names)
    (tmp_path / "chemprot_test_relations.tsv").write_text("not read")
    (tmp_path / "readme_entities.pdf").write_text("not read")
    (tmp_path / f"._{names[1]}").write_text("not read")
    assert len(list(read_examples(TASK, [tmp_path]))) == len(PAIRS)


def test_the_files_of_a_role_are_not_guessed(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "chemprot_test_entities_gs.tsv").write_text("")
    with pytest.raises(DataError, match=r"expected one file \*entities\*\.tsv, found chemprot_test_en.*_gs_entities"):
        list(read_examples(TASK, [tmp_path]))
    for path in tmp_path.glob("*entities*"):
        path.unlink()
    with pytest.raises(DataError, match=r"expected one file \*entities\*\.tsv, found none"):
        list(read_examples(TASK, [tmp_path]))
    with pytest.raises(DataError, match="expected a folder with the files of a split, found none"):
        list(read_gold(TASK, [tmp_path / NAMES[0]]))
    (tmp_path / NAMES[1]).mkdir()
    with pytest.raises(DataError, match="expected a readable file"):
        list(read_gold(TASK, [tmp_path]))


def test_a_split_may_have_several_folders_but_a_document_once(tmp_path: Path) -> None:
    (one, two, empty) = (tmp_path / name for name in ("one", "two", "empty"))
    for folder in (one, two, empty):
        folder.mkdir()
    write(one)
    write(two, "8\tOther\ttext.\n", "8\tT1\tGENE-N\t0\t5\tOther\n", "")
    assert [document.id for document in read_documents(one, two)] == ["12", "7", "8"]
    write(two, "8\tOther\ttext.\n7\tSecretword\ttext.\n", "", "")
    with pytest.raises(DataError, match=r"two/chemprot_test_gs_abstracts\.tsv:2: document 7 occurs a second time"):
        list(read_documents(one, two))
    with pytest.raises(DataError, match=r"empty/chemprot_test_gs_abstracts\.tsv: expected at least one document"):
        list(read_documents(one, write(empty, "", "", "")))


def test_abstracts_are_read_one_at_a_time(tmp_path: Path) -> None:
    examples = read_examples(TASK, [write(tmp_path, ABSTRACTS + "Secretword\n")])
    for _ in PAIRS:
        next(examples)
    with pytest.raises(DataError, match=r"abstracts\.tsv:3: expected 3 columns"):
        next(examples)


def abstracts(text: str) -> dict[str, str]:
    return {"abstracts": text}


def entities(row: str) -> dict[str, str]:
    return {"entities": f"{ENTITIES}{row}\n"}


def gold(row: str) -> dict[str, str]:
    return {"gold": f"{GOLD}{row}\n"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (abstracts(""), r"_abstracts\.tsv: expected at least one document, found an empty file"),
        (abstracts("12\tSecretword\n"), r"_abstracts\.tsv:1: expected 3 columns separated by tabs, found 2"),
        (abstracts("12\tSecretword\ttext\tmore\n"), r"_abstracts\.tsv:1: expected 3 columns .* found 4"),
        (abstracts("Secretword one\t12\ttext\n"), r"_abstracts\.tsv:1: expected a PubMed id in column 1"),
        (abstracts("\tSecretword\ttext\n"), r"_abstracts\.tsv:1: expected a PubMed id"),
        (abstracts("٣\tSecretword\ttext\n"), r"_abstracts\.tsv:1: expected a PubMed id"),
        (abstracts(f"{ABSTRACTS}12\tSecretword\ttext\n"), r"_abstracts\.tsv:3: document 12 occurs a second time"),
        (abstracts(f"{ABSTRACTS}13\tSecretword\ttext"), r"_abstracts\.tsv:3: expected a line end"),
        (
            abstracts("7\tSecretword\ttext.\n"),
            r"_entities\.tsv:1: expected an entity of a document in chemprot_test_gs_a",
        ),
        (abstracts("12\tSecretword\tis all.\n"), r"_entities\.tsv:1: expected offsets .* <= 18, found 18 and 22"),
        (entities("12\tT20\tCHEMICAL\t18\t22"), r"_entities\.tsv:9: expected 6 columns .* found 5"),
        (entities("12\tT20\tCHEMICAL\t18\t22\tZinc\tSecretword"), r"_entities\.tsv:9: expected 6 columns .* found 7"),
        (entities("Secretword\tT20\tCHEMICAL\t18\t22\tZinc"), r"_entities\.tsv:9: expected a PubMed id"),
        (entities("12\tSecretword\tCHEMICAL\t18\t22\tZinc"), r"_entities\.tsv:9: expected an entity's id in column 2"),
        (entities("12\tT1.T2\tCHEMICAL\t18\t22\tZinc"), r"_entities\.tsv:9: expected an entity's id in column 2"),
        (
            entities("12\tT1\tCHEMICAL\t59\t69\tSecretword"),
            r"_entities\.tsv:9: entity T1 of document 12 occurs a second",
        ),
        (
            entities("12\tT20\tSecretword\t18\t22\tZinc"),
            r"_entities\.tsv:9: expected one of the types CHEMICAL, GENE-Y, GENE",
        ),
        (entities("12\tT20\tCHEMICAL\t-18\t22\tZinc"), r"_entities\.tsv:9: expected whole numbers as offsets"),
        (entities(f"12\tT20\tCHEMICAL\t18\t{'9' * 5000}\tZinc"), r"_entities\.tsv:9: expected whole numbers"),
        (
            entities("12\tT20\tCHEMICAL\t59\t999999999\tSecretword"),
            r"_entities\.tsv:9: expected offsets .*found 59 and 9999",
        ),
        (entities("12\tT20\tCHEMICAL\t69\t59\tSecretword"), r"_entities\.tsv:9: expected offsets .*found 69 and 59"),
        (entities("12\tT20\tCHEMICAL\t59\t59\t"), r"_entities\.tsv:9: expected offsets .*found 59 and 59"),
        (entities("12\tT20\tCHEMICAL\t58\t68\tSecretword"), r"_entities\.tsv:9: the text at 58-68 is not the entity's"),
        (entities("13\tT1\tCHEMICAL\t59\t69\tSecretword"), r"_entities\.tsv:9: expected an entity of a document in"),
        (gold("12\tCPR:4\tArg1:T1"), r"_gold_standard\.tsv:6: expected 4 columns .* found 3"),
        (
            gold("12\tSecretword\tArg1:T1\tArg2:T11"),
            r"_gold_standard\.tsv:6: expected a group of relations in column 2",
        ),
        (gold("12\tCPR:4\tT1\tArg2:T11"), r"_gold_standard\.tsv:6: expected an argument like Arg1:T1, found something"),
        (gold("12\tCPR:4\tArg1:T1\tArg1:T11"), r"_gold_standard\.tsv:6: expected an argument like Arg2:T1"),
        (gold("12\tCPR:4\tArg1:Secretword\tArg2:T11"), r"_gold_standard\.tsv:6: expected an argument like Arg1:T1"),
        (
            gold("12\tCPR:4\tArg1:T99\tArg2:T11"),
            r"_gold_standard\.tsv:6: expected an entity of the document as Arg1, found T99",
        ),
        (
            gold("7\tCPR:4\tArg1:T1\tArg2:T11"),
            r"_gold_standard\.tsv:6: expected an entity of the document as Arg1, found T1",
        ),
        (gold("99\tCPR:4\tArg1:T1\tArg2:T11"), r"_gold_standard\.tsv:6: expected an entity of the document as Arg1"),
        (
            gold("12\tCPR:4\tArg1:T11\tArg2:T12"),
            r"_gold_standard\.tsv:6: expected a CHEMICAL as Arg1, found T11, a GENE",
        ),
        (gold("12\tCPR:4\tArg1:T1\tArg2:T2"), r"_gold_standard\.tsv:6: expected a GENE as Arg2, found T2, a CHEMICAL"),
        (gold("12\tCPR:9\tArg1:T1\tArg2:T11"), r"_gold_standard\.tsv:6: this relation has occurred before"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    write(tmp_path, **files)
    for read in (read_examples, read_gold):
        with pytest.raises(DataError, match=message) as caught:
            list(read(TASK, [tmp_path]))
        assert "Secretword" not in str(caught.value)
        assert "Zinc" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (replace(TASK, arguments=("GENE", "CHEMICAL")), r"task chemprot: .*needs `arguments` = \['CHEMICAL', 'GENE'\]"),
        (replace(TASK, arguments=None), "needs `arguments`"),
        (replace(TASK, negative=None, labels=("CPR:3", "CPR:4")), "needs `arguments`"),
        (replace(TASK, labels=("CPR:1", "false")), "other labels among CPR:3, CPR:4, CPR:5, CPR:6, CPR:9"),
        (replace(TASK, relation="CPR:3"), "neither `relation` nor `candidates`"),
        (replace(TASK, candidates="closest"), "neither `relation` nor `candidates`"),
        (replace(TAGGING, labels=("GENE-Y",)), "task chemprot: expected labels among CHEMICAL, GENE"),
        (replace(TASK, kind=Kind.SIMILARITY), "format chemprot gives tagging and relation tasks, not similarity"),
        (replace(TASK, kind=Kind.INFERENCE), "format chemprot gives tagging and relation tasks, not inference"),
    ],
)
def test_tasks_that_the_corpus_does_not_give_are_refused_at_once(tmp_path: Path, task: Task, message: str) -> None:
    for read in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=message):
            read(task, [tmp_path / "absent"])


WORD = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
PMIDS = st.lists(st.from_regex(r"[1-9][0-9]{0,7}", fullmatch=True), min_size=1, max_size=4, unique=True)


@st.composite
def some_documents(draw: st.DrawFn) -> list[Document]:
    documents = []
    for pmid in draw(PMIDS):
        title, abstract = (" ".join(draw(st.lists(WORD, max_size=4))) for _ in range(2))
        text = f"{title} {abstract}"
        mentions = []
        for number, start in enumerate(draw(st.lists(st.integers(0, len(text) - 1), max_size=5))):
            end, type_ = draw(st.integers(start + 1, len(text))), draw(st.sampled_from(["CHEMICAL", "GENE"]))
            mentions.append(Mention(start, end, type_, (f"T{number}",)))
        pairs = [(a, b) for a in mentions for b in mentions if (a.type, b.type) == ("CHEMICAL", "GENE")]
        groups = st.sampled_from(["CPR:3", "CPR:4", "CPR:9"])
        related = draw(st.lists(st.tuples(groups, st.sampled_from(pairs)), max_size=3, unique=True)) if pairs else []
        relations = tuple(Relation(group, a.concepts[0], b.concepts[0]) for group, (a, b) in related)
        documents.append(Document(pmid, text, len(title), tuple(mentions), relations))
    return documents


@settings(deadline=None, max_examples=100)
@given(documents=some_documents(), entity_order=st.randoms(use_true_random=False))
def test_what_is_written_is_read_back(
    documents: list[Document], entity_order: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("chemprot")
    shuffled = entity_order.sample(documents, len(documents))
    write(
        folder,
        "".join(f"{one.id}\t{one.text[: one.title_end]}\t{one.text[one.title_end + 1 :]}\n" for one in documents),
        "".join(
            f"{one.id}\t{m.concepts[0]}\t{'GENE-N' if m.type == 'GENE' else m.type}\t"
            f"{m.start}\t{m.end}\t{one.text[m.start : m.end]}\n"
            for one in shuffled
            for m in one.mentions
        ),
        "".join(f"{one.id}\t{r.type}\tArg1:{r.first}\tArg2:{r.second}\n" for one in shuffled for r in one.relations),
    )
    assert list(read_documents(folder)) == documents
    gold = {item.id: item.value for item in read_gold(TASK, [folder])}
    examples = list(read_examples(TASK, [folder]))
    assert all(isinstance(one, RelationExample) and gold[one.id] == one.labels for one in examples)
    related = {f"{one.id}.{r.first}.{r.second}" for one in documents for r in one.relations}
    assert gold.keys() == related | {one.id for one in examples}
    assert all((gold[id_] != ("false",)) == (id_ in related) for id_ in gold)


def test_crowded_files_are_read_in_time(tmp_path: Path) -> None:
    crowded = "".join(f"1\tT{2 * i}\tCHEMICAL\t0\t1\ta\n1\tT{2 * i + 1}\tGENE-N\t0\t1\ta\n" for i in range(400))
    short_sentences = f"1\ta\t{'A? ' * 6000}\n"
    for one, two in ((f"1\ta\t{'b' * 20_000}\n", crowded), (short_sentences, crowded)):
        write(tmp_path, one, two, "")
        examples: list[Example] = []
        assert cost(partial(examples.extend, read_examples(TASK, [tmp_path]))) < 100
        assert len(examples) == 160_000


GOLD_COUNTS = {
    "train": (4157, 18254, {"CPR:3": 768, "CPR:4": 2254, "CPR:5": 173, "CPR:6": 235, "CPR:9": 727}, ["CPR:6"], 10),
    "dev": (2416, 11555, {"CPR:3": 550, "CPR:4": 1094, "CPR:5": 116, "CPR:6": 199, "CPR:9": 457}, [], 4),
    "test": (3458, 15874, {"CPR:3": 665, "CPR:4": 1661, "CPR:5": 195, "CPR:6": 293, "CPR:9": 644}, [], 14),
}


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_corpus_has_the_relations_its_authors_count(split: SplitName) -> None:
    relations, pairs, groups, lost, twice = GOLD_COUNTS[split]
    gold = catalogue.read_gold(TASK, split, Path(CORPORA or ""))
    values = [value for value in gold.values() if isinstance(value, tuple)]
    counts = Counter(label for value in values for label in value if label != "false")
    assert (counts.total(), len(gold), dict(counts)) == (relations, pairs, groups)
    assert sum(len(value) > 1 for value in values) == twice
    ids = {one.id for one in catalogue.read_examples(TASK, split, Path(CORPORA or ""))}
    assert [
        label for id_, value in gold.items() if id_ not in ids and isinstance(value, tuple) for label in value
    ] == lost


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")
@pytest.mark.parametrize(("split", "mentions"), [("train", 25752), ("dev", 15567), ("test", 20828)])
def test_the_corpus_has_the_mentions_of_its_files(split: SplitName, mentions: int) -> None:
    gold = catalogue.read_gold(TAGGING, split, Path(CORPORA or ""))
    assert sum(len(value) for value in gold.values() if isinstance(value, frozenset)) == mentions
