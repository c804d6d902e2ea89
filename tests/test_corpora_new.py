"""`mtscale corpora new`: a recipe for a folder of annotated files, for each format, good or damaged."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtscale import recipe
from mtscale.cli import main
from mtscale.corpora import catalogue, draft
from mtscale.corpora.discover import Discovery
from mtscale.corpora.example import SPLITS
from mtscale.corpora.guess import Found
from mtscale.corpora.sniff import split_of
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, EXIT_REFUSED
from mtscale.tasks import TASKS, Kind, Task
from tests.corpora_command import REAL, SECRET, Command, command, pubtator, real_corpora, write_bc5cdr
from tests.mutations import mutations

__all__ = ["command"]  # a fixture


def bioc(first: int, count: int) -> str:
    documents = "".join(
        f"<document><id>{number}</id><passage><offset>0</offset><text>{SECRET} and lead: gout.</text>"
        '<annotation id="a"><infon key="type">Chemical</infon><location offset="14" length="4"/><text>lead</text>'
        '</annotation><annotation id="b"><infon key="type">Disease</infon><location offset="20" length="4"/>'
        '<text>gout</text></annotation><relation id="r"><infon key="type">causes</infon>'
        '<node refid="b" role="of"/><node refid="a" role="by"/></relation></passage></document>\n'
        for number in range(first, first + count)
    )
    return f"<?xml version='1.0'?>\n<collection>\n{documents}</collection>\n"


def columns(first: int, count: int, separator: str = "\t", tag: str = "B-Drug") -> str:
    lines = ["-DOCSTART- -X- O O", "", f"{SECRET}{separator}NN{separator}{tag}", f"gave{separator}VB{separator}O", ""]
    return "# a comment\n" + "\n".join(line for _ in range(count) for line in lines) + "\n"


def blue(first: int, count: int) -> str:
    return "".join(f"{SECRET}\t{number}\t0\tB\ngave\t-\t10\tO\n\n" for number in range(first, first + count))


def table(header: str, row: str, separator: str) -> Callable[[int, int], str]:
    def written(first: int, count: int) -> str:
        rows = [row.replace("N", str(number)).replace("X", SECRET) for number in range(first, first + count)]
        return "\n".join([header, *rows]).replace("|", separator) + "\n"

    return written


def jsonl(first: int, count: int) -> str:
    row = {"premise": SECRET, "hypothesis": "b", "nested": {"a": [1]}}
    return "".join(
        json.dumps({"pairID": number, **row, "gold_label": ("yes", "maybe")[number % 2]}) + "\n"
        for number in range(first, first + count)
    )


Want = dict[str, dict[str, object]]
FORMATS: dict[str, tuple[Callable[[int, int], str], str, Want]] = {
    "pubtator": (
        pubtator,
        "txt",
        {
            "mine": {"kind": Kind.TAGGING, "labels": ("Chemical", "Disease", "Instrument")},
            # The file names the disease first, and that order matters in PubTator.
            "mine-relations": {"labels": ("CID", "none"), "arguments": ("Disease", "Chemical"), "negative": "none"},
        },
    ),
    "bioc": (
        bioc,
        "xml",
        {"mine": {"labels": ("Chemical", "Disease")}, "mine-relations": {"labels": ("causes", "none")}},
    ),
    "conll": (columns, "conll", {"mine": {"kind": Kind.TAGGING, "labels": ("Drug",)}}),
    "blue": (blue, "tsv", {"mine": {"kind": Kind.TAGGING, "labels": ("Entity",)}}),
    "tsv": (
        table("ID|Sentence_A|Sentence B|Score|more", "N|X|b|N.5|-", "\t"),
        "tsv",
        {
            "mine": {
                "kind": Kind.SIMILARITY,
                "score_range": (1.0, 26.0),
                "columns": {"index": "ID", "sentence1": "Sentence_A", "sentence2": "Sentence B", "score": "Score"},
            }
        },
    ),
    "csv": (
        table('index,"sentence",label', 'N,"X, ""@DRUG$"" and @DRUG$",no', ","),
        "csv",
        {"mine": {"kind": Kind.RELATION, "labels": ("no",), "negative": "no"}},
    ),
    "jsonl": (jsonl, "jsonl", {"mine": {"kind": Kind.INFERENCE, "labels": ("maybe", "yes")}}),
}


def new(command: Command, folder: Path) -> tuple[list[Task], str]:
    """The tasks of the recipe that `corpora new` writes, after all their splits were read, and its text."""
    output = folder.parent / "written.toml"
    output.unlink(missing_ok=True)
    command("new", folder, "--output", output)
    loaded = recipe.load(output)
    data_root = Path(loaded.data_root or "")
    tasks = [one.resolve(data_root, output.parent) for one in loaded.tasks]
    for task in tasks:
        for split in SPLITS:
            assert catalogue.read_gold(task, split, data_root)
            assert list(catalogue.read_examples(task, split, data_root))
    text = output.read_text(encoding="utf-8")
    assert SECRET not in text
    return tasks, text


def check(tasks: list[Task], format_: str, want: Want) -> None:
    assert [task.name for task in tasks] == list(want)
    for task in tasks:
        assert task.format == format_
        assert {key: getattr(task, key) for key in want[task.name]} == want[task.name]


@pytest.mark.parametrize("format_", FORMATS)
def test_new_writes_a_recipe_for_files_of_each_format(command: Command, tmp_path: Path, format_: str) -> None:
    write, suffix, want = FORMATS[format_]
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    for name, first, count in (("train", 1, 5), ("Valid", 11, 2), ("myTestSet", 21, 5), ("other", 31, 1)):
        (folder / "sub" / f"{name}.{suffix}").write_text(write(first, count), encoding="utf-8")
    (folder / "LICENSE").write_text("Free, for all.\nTruly\tfree.\n", encoding="utf-8")
    (folder / "image.png").write_bytes(b"\x89PNG\r\n\x00\xff")
    (folder / "cut.jsonl").write_text('{"sentence1": "', encoding="utf-8")
    (folder / ".hidden.tsv").write_text("sentence1\tsentence2\tscore\n", encoding="utf-8")
    tasks, _ = new(command, folder)
    check(tasks, format_, {name: {**fields} for name, fields in want.items()})
    assert tasks[0].files == {
        "train": (f"sub/train.{suffix}",),
        "dev": (f"sub/Valid.{suffix}",),
        "test": (f"sub/myTestSet.{suffix}",),
    }


def write_brat(folder: Path, first: int, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        (folder / f"d{number}.txt").write_text(f"{SECRET} and lead: gout.\n", encoding="utf-8")
        (folder / f"d{number}.ann").write_text(
            "T1\tChemical 14 18\tlead\nT2\tDisease 20 24\tgout\nR1\tcauses Arg1:T1 Arg2:T2\n"
            "R2\tcauses Arg1:T2 Arg2:T1\nT3\tChemical 14 18\tlead\nR3\tsame Arg1:T1 Arg2:T3\n",
            encoding="utf-8",
        )


def test_new_reads_brat_folders(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for name, first in (("training", 1), ("development", 11), ("test", 21)):
        write_brat(folder / name, first, 2)
    tasks, text = new(command, folder)
    assert [task.format for task in tasks] == ["brat", "brat"]
    assert tasks[0].files == {"train": ("training",), "dev": ("development",), "test": ("test",)}
    assert (tasks[1].labels, tasks[1].arguments) == (("causes", "none"), ("Chemical", "Disease"))
    assert "# not in this task: 6 relations of Chemical; they need one of their own" in text


def test_files_without_splits_in_their_names_are_cut_into_folds(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_brat(folder, 1, 6)
    tasks, text = new(command, folder)
    assert {(task.folds, tuple(task.files.items())) for task in tasks} == {(5, (("train", (".",)),))}
    assert "# no names with train and test: all files are cut into folds" in text


def test_without_dev_its_documents_are_drawn_and_the_rest_is_named(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, first in (("train_a", 1), ("train_b", 11), ("test", 21), ("notes", 31)):
        (folder / f"{name}.txt").write_text(pubtator(first, 4), encoding="utf-8")
    (folder / "train.xml").write_text(bioc(1, 1), encoding="utf-8")
    tasks, text = new(command, folder)
    assert (tasks[0].dev_fraction, tasks[0].files["train"]) == (0.1, ("train_a.txt", "train_b.txt"))
    assert "# no name with dev" in text
    assert "# not used, as its name says no split: notes.txt" in text
    assert "# not used, as another format was chosen: train.xml (bioc)" in text


def test_new_knows_the_shipped_corpora(command: Command, tmp_path: Path) -> None:
    write_bc5cdr(tmp_path / "data" / "bc5cdr")
    (tmp_path / "data" / "biosses").mkdir()
    row = "index\tsentence1\tsentence2\tscore\n" + "".join(f"{n}\t{SECRET} {n}\tb {n}\t{n % 4}\n" for n in range(9))
    (tmp_path / "data" / "biosses" / "biosses_all.tsv").write_text(row, encoding="utf-8")
    both = new(command, tmp_path / "data")[0]
    assert both == [TASKS[name] for name in ("bc5cdr-disease", "bc5cdr-chemical", "biosses")]
    assert new(command, tmp_path / "data" / "bc5cdr")[0] == both[:2]


def test_a_shipped_corpus_in_a_folder_of_another_name_is_read_all_the_same(command: Command, tmp_path: Path) -> None:
    write_bc5cdr(tmp_path / "CDR_Data")
    tasks, text = new(command, tmp_path / "CDR_Data")
    assert [(task.name, task.labels) for task in tasks] == [
        ("own-bc5cdr-disease", ("Disease",)),
        ("own-bc5cdr-chemical", ("Chemical",)),
    ]
    assert "# the layout of the corpus bc5cdr" in text


@real_corpora
@pytest.mark.parametrize("name", ["chemprot", "ddi2013", "biosses"])
def test_a_real_corpus_under_another_name_is_read_all_the_same(command: Command, tmp_path: Path, name: str) -> None:
    assert REAL is not None
    (tmp_path / "elsewhere").symlink_to(Path(REAL) / name)
    loaded = command("new", tmp_path / "elsewhere", "--output", tmp_path / "own.toml")
    assert name in loaded
    (tmp_path / "copy").mkdir()
    for path in (Path(REAL) / name).iterdir():
        (tmp_path / "copy" / path.name).symlink_to(path)
    (task,), _ = new(command, tmp_path / "copy")
    assert (task.name, task.kind, task.labels) == (f"own-{name}", TASKS[name].kind, TASKS[name].labels)


def test_a_table_may_give_two_tasks(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for split in SPLITS:
        text = f"id,sentence1,sentence2,score,label\n1,{SECRET},b,2,yes\n1,c,d,1.25,no\n"
        (folder / f"{split}.csv").write_text(text, encoding="utf-8")
    tasks, text = new(command, folder)
    assert [(task.name, task.kind) for task in tasks] == [
        ("mine-similarity", Kind.SIMILARITY),
        ("mine-inference", Kind.INFERENCE),
    ]
    assert tasks[0].score_range == (1.0, 2.0)
    assert "id" not in tasks[0].columns.values()
    assert "# columns: 'id' looks like an index but is not unique" in text


def test_a_negative_class_that_cannot_be_told_is_left_to_decide(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for split in SPLITS:
        rows = "text\tstart1\tend1\ttype1\tstart2\tend2\ttype2\tlabel\nlead, gout\t0\t4\tA\t6\t10\tB\tr\n"
        (folder / f"{split}.tsv").write_text(rows + "lead, gout\t0\t4\tA\t6\t10\tB\tq\n" * 2, encoding="utf-8")
    (task,), text = new(command, folder)
    assert (task.kind, task.labels, task.negative) == (Kind.RELATION, ("q", "r"), "q")
    assert "# negative: NOT KNOWN" in text


def test_a_written_recipe_is_never_overwritten(command: Command, tmp_path: Path) -> None:
    write_bc5cdr(tmp_path / "bc5cdr")
    command("new", tmp_path / "bc5cdr")
    before = (tmp_path / "bc5cdr.toml").read_bytes()
    assert "give --output FILE" in command("new", tmp_path / "bc5cdr", code=EXIT_REFUSED)
    assert (tmp_path / "bc5cdr.toml").read_bytes() == before


def test_the_next_command_is_right_where_another_data_root_is_set(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bc5cdr(tmp_path / "a folder")
    monkeypatch.setenv("MTSCALE_DATA", str(tmp_path / "nowhere"))
    words = shlex.split(command("new", tmp_path / "a folder").splitlines()[2])
    assert words[:3] == ["mtscale", "corpora", "stats"]
    assert "own-bc5cdr-disease" in command(*words[2:])


def test_a_folder_without_anything_annotated_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "expected files of a known format" in command("new", tmp_path / "empty", code=EXIT_DATA)
    (tmp_path / "empty" / "notes.csv").write_text(f"{SECRET}, and more\n1,2\n", encoding="utf-8")
    assert "expected files of a known format" in command("new", tmp_path / "empty", code=EXIT_DATA)
    assert "expected a folder" in command("new", tmp_path / "none", code=EXIT_REFUSED)
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.parametrize("format_", FORMATS)
def test_damaged_files_give_a_recipe_or_an_error(
    tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, suffix, _ = FORMATS[format_]
    monkeypatch.chdir(tmp_path)
    folder, output = tmp_path / "mine", tmp_path / "written.toml"
    folder.mkdir()
    for split in ("dev", "test"):
        (folder / f"{split}.{suffix}").write_text(write(1, 2), encoding="utf-8")
    for data in mutations(write(11, 3).encode(), count=60, seed=4):
        (folder / f"train.{suffix}").write_bytes(data)
        output.unlink(missing_ok=True)
        caplog.clear()
        code = main(["corpora", "new", str(folder), "--output", str(output)])
        assert code in (EXIT_FINISHED, EXIT_DATA)
        assert output.exists() == (code == EXIT_FINISHED)
        assert SECRET not in caplog.text


STRANGE = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=20).filter(
    lambda text: ".." not in text
)


@given(STRANGE, STRANGE)
def test_any_text_in_a_recipe_is_read_back(label: str, column: str) -> None:
    task = Task(
        name="x",
        kind=Kind.INFERENCE,
        domain="own",
        access=TASKS["biosses"].access,
        corpus="",
        format="tsv",
        files={"train": (f"a/{label}",), "dev": (f"b/{column}",), "test": (f"a/{label}", f"b/{column}")},
        labels=tuple({label: 0, column: 0}),
        columns={"label": column},
    )
    text = draft.recipe_text("x", Discovery((Found(task, (label,)),), Path("/data"), (column,)))
    (table,) = recipe.Recipe.model_validate(tomllib.loads(text)).tasks
    assert (table.labels, table.columns) == (task.labels, task.columns)
    assert table.resolve(None, Path("/")).files == task.files


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("CDR_TrainingSet.PubTator.txt", "train"),
        ("CDRTrain.txt", "train"),
        ("a/dev/doc.txt", "dev"),
        ("train/x_validation.csv", "dev"),
        ("mli_test_v1.jsonl", "test"),
        ("devices.tsv", None),
        ("trained.tsv", None),
        (".", None),
    ],
)
def test_the_split_is_told_by_whole_words_of_the_name(name: str, split: str | None) -> None:
    assert split_of(name) == split
