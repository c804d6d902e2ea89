"""The form that launches runs: made from the schema, judged as the command judges, and what it starts stays."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shlex
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from mtscale_tui import commands, form, remembered
from mtscale_tui.app import RunsApp
from mtscale_tui.commands import Done
from mtscale_tui.launch_screen import Field, LaunchScreen, field_id
from mtscale_tui.plan import findings_text
from mtscale_tui.runs_screen import RunsScreen, RunsTable
from textual.pilot import Pilot
from textual.widgets import Input, Select

from mtscale import processes, recipe
from mtscale.errors import ConfigError
from mtscale.runs import LIVE, State
from tests.lab import ROOT, SECONDS, Lab
from tests.terminal import SIZES, make_run, text_of, until

PLAN = {
    "family": "f",
    "runs": [
        {
            "run": "f\x1b[31m",
            "epochs": 4,
            "steps_per_epoch": 100,
            "batch_size": 32,
            "micro_batch": 8,
            "accumulation": 2,
            "world_size": 2,
            "precision": "bf16",
            "zero_stage": 1,
            "memory_gib": 3.21,
            "seconds": 90,
        }
    ],
    "tasks": {"t": {"train": {"examples": 50, "truncated_examples": 3}, "test": {"examples": 7}}},
    "seconds": 90,
    "seconds_are_a_guess": True,
}

FINDINGS = {
    "findings": [
        {"severity": "note", "task": "t", "split": "train", "count": 9, "what": "fine"},
        {"severity": "warning", "task": "t", "split": "dev", "count": 2, "what": "documents of train"},
        {"severity": "error", "task": "t", "split": "test", "count": 1, "what": "[b]no[/b] gold\x1b[31m"},
    ]
}


class Commands:
    """Stands for the commands of ``mtscale``: what was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answer = Done(0, json.dumps(PLAN), "")
        self.is_slow = False
        self.findings = Done(3, json.dumps(FINDINGS), "")

    def run(self, words: Sequence[str], is_wanted: Callable[[], bool], *, keep: bool = False) -> Done | None:
        self.asked.append(list(words))
        while self.is_slow and is_wanted():
            time.sleep(0.01)
        if not is_wanted():
            return None
        return self.findings if words[0] == "corpora" else self.answer


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(commands, "run", made.run)
    return made


async def open_form(pilot: Pilot[None]) -> LaunchScreen:
    await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
    await pilot.press("n")
    await until(pilot, lambda: isinstance(pilot.app.screen, LaunchScreen) and bool(pilot.app.screen.query(Field)))
    screen = pilot.app.screen
    assert isinstance(screen, LaunchScreen)
    return screen


async def type_into(pilot: Pilot[None], name: str, text: str) -> None:
    entry = pilot.app.screen.query_one(f"#{field_id(name)} Input", Input)
    entry.focus()
    await pilot.press("end", *["backspace"] * len(entry.value))
    await pilot.press(*("full_stop" if character == "." else character for character in text))
    await pilot.pause()


def below(pilot: Pilot[None], name: str) -> str:
    return text_of(pilot, f"#{field_id(name)} .below")


def schema_leaves(content: object, prefix: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from schema_leaves(value, f"{prefix}{key}.")
    else:
        yield prefix.removesuffix(".")


def test_every_setting_of_the_schema_is_a_field() -> None:
    dumped = recipe.load(recipe.find("sample")).model_dump(exclude={"name", "tasks", "seeds", "data_root"})
    assert {setting.name for setting in form.SETTINGS} == set(schema_leaves(dumped))
    by_name = {setting.name: setting for setting in form.SETTINGS}
    assert by_name["refine.mixing"].choices == ("proportional", "annealed", "temperature", "uniform", "round_robin")
    assert by_name["refine.epochs"].help == "passes over the training examples, at most (>= 1)"
    assert by_name["encoder.dropout"].choices == ()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"refine.epochs": "3"}, "refine.epochs=3"),
        ({"refine.mixing": "uniform"}, 'refine.mixing="uniform"'),
        ({"encoder.name": "my encoder"}, 'encoder.name="my encoder"'),
        ({"encoder.dropout": "0.2"}, "encoder.dropout=0.2"),
        ({"encoder.dropout": "checkpoint"}, 'encoder.dropout="checkpoint"'),
        ({"stages": "refine, finetune"}, 'stages=["refine", "finetune"]'),
        ({"refine.clip": ""}, None),
    ],
)
def test_what_is_typed_becomes_an_override_that_the_command_takes(typed: dict[str, str], expected: str | None) -> None:
    overrides = form.Answers({}, typed).overrides()
    assert overrides == ([] if expected is None else [expected])
    recipe.load(recipe.find("sample"), overrides)


@pytest.mark.parametrize(
    "typed",
    [
        {"refine.epochs": "0"},
        {"refine.epochs": "many"},
        {"refine.learning_rate": "-1"},
        {"encoder.dropout": "7"},
        {"encoder.max_pieces": "9999"},
        {"stages": "pretraining"},
    ],
)
def test_a_field_says_what_the_command_says(typed: dict[str, str]) -> None:
    answers = form.Answers({"recipe": "sample"}, typed)
    (name,) = typed
    said = form.problems(answers)
    assert set(said) == {name}
    with pytest.raises(ConfigError) as refused:
        recipe.load(recipe.find("sample"), answers.overrides())
    assert said[name].split("; or: ")[0] in str(refused.value)


def test_what_belongs_to_no_field_is_told_too(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\ntasks = [{ name = "cdr-diseases" }]\n')
    said = form.problems(form.Answers({"recipe": str(own), "seeds": "1,1", "ds_config": "gone.json"}, {}))
    assert set(said) == {"", "ds_config"}
    assert "did you mean 'cdr-disease'?" in said[""]
    assert form.problems(form.Answers({"recipe": str(tmp_path / "none.toml")}, {})).keys() == {"recipe"}
    assert form.recipes(tmp_path)[-1] == str(own)
    assert form.recipes(tmp_path / "nowhere") == form.recipes(tmp_path)[:-1]


@SIZES
async def test_the_form_judges_while_one_types(tmp_path: Path, size: tuple[int, int], faked: Commands) -> None:
    app = RunsApp(tmp_path / "runs")
    async with app.run_test(size=size) as pilot:
        screen = await open_form(pilot)
        assert len(screen.query(Field)) == 6 + len(form.SETTINGS)
        assert screen.query_one(f"#{field_id('refine.epochs')} Input", Input).placeholder == "3"
        help_text = below(pilot, "refine.epochs")
        await type_into(pilot, "refine.epochs", "0")
        assert below(pilot, "refine.epochs") == "! Input should be greater than or equal to 1, found 0"
        assert "1 field(s) cannot be used" in text_of(pilot, "#verdict")
        await pilot.press("ctrl+s", "ctrl+t")
        await pilot.pause()
        assert faked.asked == []
        await type_into(pilot, "refine.epochs", "2")
        assert below(pilot, "refine.epochs") == help_text
        await type_into(pilot, "seeds", "1,x")
        assert below(pilot, "seeds") == "! expected whole numbers separated by commas, found '1,x'"
        await type_into(pilot, "seeds", "1, 2")
        command = shlex.join(["mtscale", "train", "--recipe", "sample", "--seed", "1,2", "--set", "refine.epochs=2"])
        expected = f"{command} --runs {tmp_path / 'runs'} --detach"
        assert text_of(pilot, "#command") == f"$ {expected}"
        await pilot.press("ctrl+y")
        assert app.clipboard == expected
        assert screen.query_one("#beside").region.bottom <= size[1]
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert faked.asked == []


@pytest.mark.slow
async def test_another_recipe_shows_its_values_and_a_folder_its_files(tmp_path: Path) -> None:
    own = 'name = "own"\nencoder = { name = "[red]x[/nope]\\u001b[31m" }\nrefine = { epochs = 17 }\n'
    (tmp_path / "own.toml").write_text(own + '[[tasks]]\nname = "cdr-disease"\n')
    (tmp_path / "own.json").write_text('{"train_micro_batch_size_per_gpu": 4}')
    app = RunsApp(tmp_path / "runs")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_form(pilot)
        await type_into(pilot, "folder", str(tmp_path))
        screen.query_one(f"#{field_id('recipe')} Select", Select).value = str(tmp_path / "own.toml")
        screen.query_one(f"#{field_id('ds_config')} Select", Select).value = str(tmp_path / "own.json")
        epochs = screen.query_one(f"#{field_id('refine.epochs')} Input", Input)
        await until(pilot, lambda: epochs.placeholder == "17")
        assert screen.query_one(f"#{field_id('encoder.name')} Input", Input).placeholder == "[red]x[/nope]"
        await until(pilot, lambda: f"--ds_config {tmp_path / 'own.json'}" in text_of(pilot, "#command"))
        assert f"--recipe {tmp_path / 'own.toml'}" in text_of(pilot, "#command")


async def test_a_check_shows_what_the_run_will_need(tmp_path: Path, faked: Commands) -> None:
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "corpora: " in text_of(pilot, "#verdict"))
        assert faked.asked[0][-2:] == ["--dry-run", "--json"]
        assert faked.asked[1] == ["corpora", "check", "sample", "--json"]
        said = text_of(pilot, "#verdict")
        assert said.splitlines()[:8] == [
            "Machine, DeepSpeed JSON and corpora allow it.",
            "time about 90 s, a guess on this machine; memory of a rank about 3.2 GiB",
            "bf16, ZeRO 1, batch 32 = ranks x accumulation x micro-batch = 2 x 2 x 8",
            "",
            "corpora: 1 error(s), 1 warning(s), 1 note(s)",
            "error t test: 1 [b]no[/b] gold",
            "warning t dev: 2 documents of train",
            "",
        ]
        assert "t: train 50, test 7, 3 truncated" in said
        assert "\x1b" not in said
        faked.answer = Done(2, "", "ds_configs/x.json has [bold]fp16[/bold]\x1b[31m on a CPU\n")
        await pilot.press("ctrl+t")
        await until(
            pilot, lambda: text_of(pilot, "#verdict") == "Refused\nds_configs/x.json has [bold]fp16[/bold] on a CPU"
        )


async def test_a_start_shows_why_it_cannot_and_remembers_what_could(tmp_path: Path, faked: Commands) -> None:
    app = RunsApp(tmp_path)
    faked.answer = Done(2, "", "training needs more packages (torch): pip install 'mtscale[train]'\n")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await type_into(pilot, "refine.epochs", "2")
        await type_into(pilot, "run", "mine")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "training needs more packages (torch)" in text_of(pilot, "#verdict"))
        assert faked.asked[0][-2:] == ["--detach", "--json"]
        assert remembered.launch() == {}
        run = make_run(tmp_path, "mine", state=State.RUNNING)
        faked.answer = Done(0, json.dumps({"pid": 1, "runs": [str(run.path)]}), "")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert app.launched == [run.path]
        assert app.farewell().startswith("1 run(s) keep going")
    assert remembered.launch() == {"recipe": "sample", "refine.epochs": "2"}
    run.write_status(run.status.model_copy(update={"state": State.FINISHED}))
    assert app.farewell() == ""
    again = RunsApp(tmp_path)
    async with again.run_test(size=(80, 24)) as pilot:
        screen = await open_form(pilot)
        assert screen.query_one(f"#{field_id('refine.epochs')} Input", Input).value == "2"
        assert screen.query_one(f"#{field_id('run')} Input", Input).value == ""


async def test_a_start_does_not_wait_for_a_check(tmp_path: Path, faked: Commands) -> None:
    run = make_run(tmp_path, "mine", state=State.RUNNING)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        faked.is_slow = True
        await pilot.press("ctrl+t")
        await until(pilot, lambda: len(faked.asked) == 1)
        faked.answer = Done(0, json.dumps({"pid": 1, "runs": [str(run.path)]}), "")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(faked.asked) == 2)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: any(note.message == "Starting already" for note in app._notifications))
        faked.is_slow = False
        await until(pilot, lambda: app.launched == [run.path])
        assert [words[-2] for words in faked.asked] == ["--dry-run", "--detach"]


async def test_resume(tmp_path: Path, faked: Commands) -> None:
    make_run(tmp_path, "stopped", seed=1, state=State.STOPPED)
    make_run(tmp_path, "done", seed=2, state=State.FINISHED)
    app = RunsApp(tmp_path)
    faked.answer = Done(0, "", "")
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 2)
        await pilot.press("R")
        await until(pilot, lambda: any("done is finished" in note.message for note in app._notifications))
        assert faked.asked == []
        await pilot.press("j", "R")
        await until(pilot, lambda: faked.asked == [["runs", "resume", str(tmp_path / "stopped"), "--detach"]])
        await until(pilot, lambda: any("stopped goes on" in note.message for note in app._notifications))
        faked.answer = Done(2, "", "[red]no[/red]\n")
        await pilot.press("R")
        await until(pilot, lambda: any(note.message == "[red]no[/red]" for note in app._notifications))


async def test_the_theme_is_remembered(tmp_path: Path) -> None:
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = "textual-light"
        await until(pilot, lambda: remembered.theme() == "textual-light")
    assert RunsApp(tmp_path).theme == "textual-light"
    remembered.path().write_text("{")
    assert remembered.load() == {}
    assert RunsApp(tmp_path).theme != "textual-light"
    remembered.remember("theme", "no such theme")
    assert RunsApp(tmp_path).theme != "no such theme"


def test_a_command_that_is_no_longer_wanted_ends() -> None:
    assert commands.run(["doctor"], lambda: False) is None
    done = commands.run(["runs", "show", "none"], lambda: True)
    assert done is not None
    assert (done.code, done.succeeded, done.output) == (2, False, "")
    assert "no run" in done.errors


def test_many_findings_are_cut_and_a_check_that_failed_says_why() -> None:
    many = {"findings": [FINDINGS["findings"][1]] * 20}
    assert findings_text(json.dumps(many), "").splitlines()[-1] == "... and 12 more: mtscale corpora check"
    assert findings_text("", "no\x1b[31m packages\n") == "The corpora could not be checked\nno packages"


APP = """
import asyncio, sys
from pathlib import Path
from mtscale_tui.app import RunsApp
from mtscale_tui.launch_screen import LaunchScreen

async def launch():
    app = RunsApp(Path(sys.argv[1]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        await pilot.press("n")
        while not isinstance(app.screen, LaunchScreen):
            await pilot.pause(0.05)
        await pilot.pause(0.5)
        await pilot.press("ctrl+s")
        while not app.launched:
            await pilot.pause(0.05)
        print("launched", flush=True)
        await asyncio.sleep(600)

asyncio.run(launch())
"""


@pytest.mark.slow
def test_a_run_outlives_the_app_and_its_terminal(tmp_path: Path, tiny_encoder: Path) -> None:
    lab = Lab(tmp_path)
    lab.write(tiny_encoder)
    settings = tmp_path / "settings"
    (settings / "mtscale").mkdir(parents=True)
    typed = {"folder": str(tmp_path), "recipe": str(tmp_path / "recipe.toml"), "ds_config": "cpu-fp32"}
    launched = {"launch": {**typed, "refine.epochs": "2000"}}
    (settings / "mtscale" / "tui.json").write_text(json.dumps(launched))
    main, side = pty.openpty()
    environment = lab.environment(XDG_CONFIG_HOME=str(settings), PYTHONPATH=os.environ.get("PYTHONPATH", str(ROOT)))
    app = subprocess.Popen(
        [sys.executable, "-c", APP, str(lab.runs)],
        stdin=side,
        stdout=side,
        stderr=side,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(side)
    said = b""
    while b"launched" not in said:
        said += os.read(main, 1024)
    os.close(main)  # the terminal is gone, and the app with it
    assert app.wait(SECONDS) != 0
    (run,) = [lab.run(path.name) for path in lab.runs.iterdir() if (path / "run.json").exists()]
    end = time.monotonic() + SECONDS
    while run.state() is not State.RUNNING or not run.status.step:
        assert time.monotonic() < end
        assert run.state() in LIVE
        time.sleep(0.1)
    assert processes.kill(run) == []
