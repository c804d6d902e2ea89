from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale import recipe
from mtscale.corpora.catalogue import corpus_files
from mtscale.errors import ConfigError
from mtscale.recipe import RECIPES, Recipe
from mtscale.recipe_errors import line_of, nearest
from mtscale.recipe_sections import FinetuneSettings, StageSettings
from mtscale.tasks import TASKS, Access, Kind

SHIPPED = sorted(RECIPES.glob("*.toml"))

OWN = """\
name = "wards"
stages = ["refine", "finetune"]
seeds = [3, 1]
data_root = "corpora"

[encoder]
name = "some/encoder"
dropout = 0.2

[refine]
epochs = 7
batch_size = 16
patience = 2

[finetune]
learning_rate = 2e-5

[[tasks]]
name = "cdr-disease"

[[tasks]]
name = "ward-notes"
kind = "relation"
format = "pubtator"
files = { train = "train.txt", dev = "dev.txt", test = "test.txt" }
labels = ["treats", "none"]
negative = "none"
arguments = ["Drug", "Problem"]
relation = "T"
domain = "clinical"

[[tasks]]
name = "ward-pairs"
kind = "similarity"
format = "tsv"
score_range = [0, 5]
access = "open"
[tasks.files]
train = "a.tsv"
dev = "b.tsv"
test = "c.tsv"
"""
MINIMAL = 'name = "m"\n\n[[tasks]]\nname = "cdr-disease"\n'


def load(folder: Path, text: str, *overrides: str) -> Recipe:
    path = folder / "r.toml"
    path.write_text(text, encoding="utf-8")
    return recipe.load(path, overrides)


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    """The refusal of a recipe, without its folder, a problem an item."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def test_a_recipe_is_read_with_its_values_and_the_papers_defaults(tmp_path: Path) -> None:
    read = load(tmp_path, OWN)
    assert (read.name, read.stages, read.seeds) == ("wards", ("refine", "finetune"), (3, 1))
    assert (read.encoder.name, read.encoder.dropout, read.encoder.max_pieces) == ("some/encoder", 0.2, 128)
    assert (read.refine.epochs, read.refine.batch_size) == (7, 16)
    paper = StageSettings()
    assert (paper.epochs, paper.batch_size, paper.learning_rate, paper.warmup) == (100, 32, 5e-5, 0.1)
    assert (paper.clip, paper.weight_decay, paper.head_dropout) == (1.0, 0.01, 0.1)
    assert [task.name for task in read.tasks] == ["cdr-disease", "ward-notes", "ward-pairs"]
    assert read.tasks[1].access is Access.DUA, "one's own data is not passed on unless it is said to be open"


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    text = """\
name = "two words"
seeds = [1, -2]
protocol = "papr"
stagse = ["refine"]
encoder.max_pieces = 4

[refine]
batch-size = 8
epochs = true
learning_rate = inf

[finetune]
warmup = 1.0

[[tasks]]
name = "cdr-diseas"

[[tasks]]
name = "own"
kind = "taging"
format = "tsv"
labels = ["A"]
[tasks.files]
train = "a"
dev = 3
"""
    found = problems(tmp_path, text)
    where = [problem.split(": ")[:2] for problem in found]
    assert where == [
        ["r.toml:1", "name"],
        ["r.toml:2", "seeds[1]"],
        ["r.toml:3", "protocol"],
        ["r.toml:4", "stagse"],
        ["r.toml:5", "encoder.max_pieces"],
        ["r.toml:8", "refine.batch-size"],
        ["r.toml:9", "refine.epochs"],
        ["r.toml:10", "refine.learning_rate"],
        ["r.toml:13", "finetune.warmup"],
        ["r.toml:15", "tasks[0]"],
        ["r.toml:20", "tasks[1].kind"],
        ["r.toml:25", "tasks[1].files.dev"],
    ]
    assert "did you mean 'stages'?" in found[3]
    assert "greater than or equal to 8, found 4" in found[4]
    assert "did you mean 'batch_size'?" in found[5]
    assert "no shipped task 'cdr-diseas', did you mean 'cdr-disease'?" in found[9]
    assert "'tagging', found 'taging'" in found[10]


def test_what_is_missing_has_no_line_of_another_table(tmp_path: Path) -> None:
    assert problems(tmp_path, '[encoder]\nname = "sample"\n') == [
        "r.toml: name: Field required",
        "r.toml: tasks: stages refine and finetune need at least one [[tasks]] table",
    ]


def test_a_value_that_may_be_one_of_two_things_is_one_problem(tmp_path: Path) -> None:
    text = MINIMAL + "[encoder]\ndropout = 2\n"
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("r.toml:6: encoder.dropout: Input should be 'checkpoint', found 2; or: ")
    assert problem.endswith("Input should be less than 1, found 2")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", "no shipped task 'own'"),
        ('kind = "tagging"\nlabels = ["A"]', "task 'own' lacks format, files"),
        ('kind = "tagging"\nformat = "x"\nfiles = {train = "a", dev = "b"}', "files needs train, dev, test, found"),
        ('kind = "tagging"\nformat = "x"\nfiles = FILES', "labels must be given, each once"),
        ('kind = "inference"\nformat = "x"\nfiles = FILES\nlabels = ["a", "a"]', "labels must be given, each once"),
        ('kind = "relation"\nformat = "x"\nfiles = FILES\nlabels = ["a"]\nnegative = "b"', "negative must be one of"),
        ('kind = "similarity"\nformat = "x"\nfiles = FILES\nlabels = ["a"]', "has a score_range, no labels"),
    ],
)
def test_a_task_of_ones_own_must_be_complete(tmp_path: Path, table: str, expected: str) -> None:
    files = '{train = "a", dev = "b", test = "c"}'
    (problem,) = problems(tmp_path, f'{MINIMAL}[[tasks]]\nname = "own"\n{table.replace("FILES", files)}\n')
    assert problem.startswith("r.toml:5: tasks[1]: ")
    assert expected in problem


@pytest.mark.parametrize("key", ["labels", "negative", "arguments", "relation", "domain"])
def test_names_that_a_terminal_would_act_on_are_refused(tmp_path: Path, key: str) -> None:
    for code in ("\\u001b[31mred", "bell\\u0007", "\\u202eturned", "two\\nlines"):
        several = {"labels": f'["A", "{code}"]', "arguments": f'["{code}", "A"]'}
        value = several.get(key, f'"{code}"')
        own = 'kind = "relation"\nformat = "tsv"\nfiles = {train = "a", dev = "b", test = "c"}'
        (problem,) = problems(tmp_path, f'{MINIMAL}[[tasks]]\nname = "own"\n{own}\n{key} = {value}\n')
        assert problem.startswith(f"r.toml:10: tasks[1].{key}: ")
        assert "expected printable characters only, found '" in problem
        assert problem.isprintable()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b", "/etc/passwd", ".."])
def test_files_of_a_task_stay_below_the_folders_that_are_named(tmp_path: Path, name: str) -> None:
    for train in (f'"{name}"', f'["a", "{name}"]'):
        table = (
            f'kind = "tagging"\nformat = "conll"\nlabels = ["A"]\nfiles = {{train = {train}, dev = "b", test = "c"}}'
        )
        (problem,) = problems(tmp_path, f'{MINIMAL}[[tasks]]\nname = "own"\n{table}\n')
        assert problem.startswith("r.toml:10: tasks[1].files: ")
        assert f"found '{name}', which lead elsewhere" in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + '[[tasks]]\nname = "cdr-disease"\n', "tasks named twice: cdr-disease"),
        ("seeds = [1, 1]\n" + MINIMAL, "seeds must differ from each other"),
        ('stages = ["finetune", "refine"]\n' + MINIMAL, "'pretrain', 'refine', 'finetune', in this order"),
        (MINIMAL + 'domain = "mine"\n', "'cdr-disease' is a shipped task: give your own another name"),
        ("seeds = []\n" + MINIMAL, "seeds: Tuple should have at least 1 item"),
        (MINIMAL.replace('"m"', '"a.b"'), "name: String should match pattern"),
        (MINIMAL + '[paper]\ncut = "gold_aware"\n', "[paper] is for protocol = 'paper' alone"),
        (f'protocol = "paper"\n{MINIMAL}[refine]\npatience = 3\n', "patience waits for better dev scores"),
    ],
)
def test_a_recipe_must_be_consistent(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert expected in problem


def test_a_file_that_is_no_toml_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    assert re.match(r"r\.toml: not valid TOML: .*line 1", problems(tmp_path, "name = \n")[0])
    (tmp_path / "r.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match=r"r\.toml: cannot read the recipe"):
        recipe.load(tmp_path / "r.toml")
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        recipe.load(tmp_path / "none.toml")


def test_recipes_are_found_by_name_or_path(tmp_path: Path) -> None:
    assert recipe.find("sample") == RECIPES / "sample.toml"
    load(tmp_path, MINIMAL)
    assert recipe.find(str(tmp_path / "r.toml")) == tmp_path / "r.toml"
    with pytest.raises(ConfigError, match=r"no recipe 'smaple': .*did you mean 'sample'\?"):
        recipe.find("smaple")


def test_set_replaces_values_of_any_depth(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        OWN,
        "refine.epochs=3",
        "encoder.dropout=0.0",
        "seeds=[5, 6]",
        ' name = "other"',
        "finetune.clip = 2.5",
        'tasks=[{name = "cdr-chemical"}]',
    )
    assert (read.refine.epochs, read.encoder.dropout, read.seeds, read.name) == (3, 0.0, (5, 6), "other")
    assert read.settings("finetune").clip == 2.5
    assert [task.name for task in read.tasks] == ["cdr-chemical"]
    assert read.refine.batch_size == 16
    assert load(tmp_path, MINIMAL, "refine.epochs=3").refine.epochs == 3, "a table that the file lacks is made"
    assert load(tmp_path, MINIMAL, 'data_root="a=b"').data_root == "a=b"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("refine.epochs", "--set refine.epochs: expected KEY=VALUE"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("refine..epochs=3", "--set refine..epochs=3: expected KEY=VALUE"),
        ("encoder.name=sample", "--set encoder.name=sample: the value is not TOML; a text needs quotes"),
        ("refine.epochs=", "--set refine.epochs=: the value is not TOML"),
        ("name.first=1", "--set name.first=1: 'name' is not a table of the recipe"),
        ("tasks.0.name=1", "--set tasks.0.name=1: 'tasks' is not a table of the recipe"),
        ("refine.epochs=0", "--set refine.epochs: Input should be greater than or equal to 1, found 0"),
        ("refine.epoch=3", "--set refine.epoch: unknown key, did you mean 'epochs'?"),
        ("refin.epochs=3", "--set refin: unknown key, did you mean 'refine'?"),
        ("refine.clip.norm=3", "--set refine.clip: Input should be a valid number"),
    ],
)
def test_a_wrong_set_is_refused_as_such(tmp_path: Path, override: str, expected: str) -> None:
    (problem,) = problems(tmp_path, MINIMAL, override)
    assert problem.startswith(expected)


def test_problems_of_file_and_set_are_told_together(tmp_path: Path) -> None:
    found = problems(tmp_path, MINIMAL + "[refine]\nepochs = 0\nclip = 0\n", "refine.epochs=-1")
    assert [problem.split(": ")[0] for problem in found] == ["--set refine.epochs", "r.toml:7"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid_and_survives_being_written(path: Path, tmp_path: Path) -> None:
    read = recipe.load(path)
    again = load(tmp_path, read.to_toml())
    assert again == read
    assert again.hash() == read.hash()
    assert {task.name for task in read.tasks} <= set(TASKS)


def test_a_recipe_with_own_tasks_survives_being_written(tmp_path: Path) -> None:
    read = load(tmp_path, OWN)
    written = read.to_toml()
    assert load(tmp_path, written) == read
    assert tomllib.loads(written)["refine"]["warmup"] == 0.1, "defaults are written out"
    assert load(tmp_path, written).settings("finetune") == read.settings("finetune")


def test_finetune_takes_from_refine_what_it_does_not_set(tmp_path: Path) -> None:
    read = load(tmp_path, OWN)
    expected = StageSettings(epochs=10, batch_size=16, learning_rate=2e-5, patience=None)
    assert read.settings("finetune") == expected
    assert read.settings("refine") == StageSettings(epochs=7, batch_size=16, patience=2)
    # A run that finetunes has one task, and so no affinities.
    assert set(FinetuneSettings.model_fields) == set(StageSettings.model_fields) - {"affinity_every"}


def test_the_paper_protocol_has_the_papers_batches_and_cut_unless_told_otherwise(tmp_path: Path) -> None:
    clean, paper = load(tmp_path, MINIMAL), load(tmp_path, MINIMAL, 'protocol="paper"')
    assert (clean.procedure.cut, clean.refine.batches, clean.refine.order) == ("gold_blind", "recomposed", "by_length")
    assert (paper.procedure.cut, paper.refine.batches, paper.refine.order) == ("gold_aware", "fixed", "random")
    assert paper.settings("finetune").batches == "fixed"
    other = load(tmp_path, MINIMAL, 'protocol="paper"', 'paper.cut="gold_blind"', 'refine.order="by_length"')
    assert (other.procedure.cut, other.refine.batches, other.refine.order) == ("gold_blind", "fixed", "by_length")
    assert len({one.hash() for one in (clean, paper, other)}) == 3
    again = load(tmp_path, other.to_toml())
    assert (again, again.hash()) == (other, other.hash())


def test_the_hash_is_that_of_a_group(tmp_path: Path) -> None:
    base = load(tmp_path, OWN).hash()
    assert load(tmp_path, OWN, "seeds=[9]", 'data_root="elsewhere"').hash() == base
    assert load(tmp_path, OWN, "refine.warmup=0.1").hash() == base, "a default written out changes nothing"
    changes = (
        'name="w"',
        'stages=["refine"]',
        "encoder.max_pieces=64",
        "refine.clip=0.5",
        'refine.order="random"',
        "finetune.epochs=3",
        'tasks=[{name="cdr-disease"}]',
    )
    hashes = {load(tmp_path, OWN, change).hash() for change in changes}
    assert len(hashes | {base}) == len(changes) + 1
    assert load(tmp_path, OWN.replace('"train.txt"', '"other.txt"')).hash() != base


def test_own_files_lie_under_the_data_root_else_beside_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = load(tmp_path, OWN).tasks[1]
    root = tmp_path / "root"
    root.mkdir()
    for name in ("train.txt", "dev.txt", "test.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for data_root in (None, root):
        task = own.resolve(data_root, Path("."))
        assert Path(task.corpus) == tmp_path
        assert corpus_files(task, "dev", data_root) == [tmp_path / "dev.txt"]
    for name in ("train.txt", "dev.txt", "test.txt"):
        (root / name).touch()
    assert corpus_files(own.resolve(root, tmp_path), "dev", root) == [root / "dev.txt"]


def test_a_table_becomes_the_task_it_describes(tmp_path: Path) -> None:
    shipped, own, pairs = (table.resolve(None, tmp_path) for table in load(tmp_path, OWN).tasks)
    assert shipped == TASKS["cdr-disease"]
    assert (own.name, own.kind, own.format, own.domain) == ("ward-notes", Kind.RELATION, "pubtator", "clinical")
    assert (own.labels, own.negative, own.arguments, own.relation) == (
        ("treats", "none"),
        "none",
        ("Drug", "Problem"),
        "T",
    )
    assert own.files == {"train": ("train.txt",), "dev": ("dev.txt",), "test": ("test.txt",)}
    assert not own.packaged
    assert (pairs.kind, pairs.score_range, pairs.access) == (Kind.SIMILARITY, (0.0, 5.0), Access.OPEN)


@settings(deadline=None, max_examples=60)
@given(
    tables=st.lists(st.sampled_from(["encoder", "refine", "finetune"]), unique=True),
    blank=st.integers(0, 3),
    tasks=st.integers(1, 4),
)
def test_lines_are_found_in_any_order_of_tables(tables: list[str], blank: int, tasks: int) -> None:
    lines = ["# name = 1", 'name = "x"']
    wanted: dict[tuple[str | int, ...], int] = {("name",): 2}
    for table in tables:
        lines += [""] * blank + [f"[{table}]  # name = 2", "  name = 3"]
        wanted |= {(table,): len(lines) - 1, (table, "name"): len(lines), (table, "absent"): len(lines) - 1}
    for task in range(tasks):
        lines += ["[[tasks]]", "name=4", 'files = { train = "a" }']
        wanted |= {
            ("tasks", task): len(lines) - 2,
            ("tasks", task, "name"): len(lines) - 1,
            ("tasks", task, "files", "train"): len(lines),
        }
    text = "\n".join(lines)
    assert {location: line_of(text, location) for location in wanted} == wanted
    assert line_of(text, ("seeds", 0)) is None


def test_only_a_close_name_is_suggested() -> None:
    assert nearest("epoch", ["epochs", "clip"]) == ", did you mean 'epochs'?"
    assert nearest("zzz", ["epochs", "clip"]) == ""
