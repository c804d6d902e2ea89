"""The screen for a new run: a form, what is wrong with it, what the run will need, and the command it stands for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input, Select, Static
from textual.worker import get_current_worker

from mtscale import recipe
from mtscale.errors import ConfigError

from . import commands, form, remembered
from .cells import plain
from .form import DATA, DS_CONFIG, RECIPE, RUN, SEEDS, Answers, Setting
from .messages import LAUNCH_SCREEN, RunsStarted, is_there
from .plan import findings_text, plan_text

STARTING, CHECKING = "starting", "checking"
FITTING = "the shipped one that fits this machine"
_OPTIONS: Mapping[str, tuple[str, str]] = {
    RECIPE: ("Recipe", "shipped, or a TOML file of the folder below"),
    DS_CONFIG: ("DeepSpeed JSON", "shipped, or a JSON file of the folder below"),
    "folder": ("Folder", "where your own recipes and DeepSpeed JSON files lie"),
    DATA: ("Corpora", "folder of the corpora; not for the sample"),
    SEEDS: ("Seeds", "one run each, one after the other: 1, 2, 3"),
    RUN: ("Name", "of the run; without one, the recipe's and the time"),
}


def field_id(name: str) -> str:
    """The widget of a field."""
    return "field-" + name.replace(".", "-")


class Field(Vertical):
    """A label with an entry, and a line below it: help, or what is wrong."""

    DEFAULT_CSS = """
    Field { height: auto; padding: 0 1; }
    Field > Horizontal { height: auto; }
    Field .label { width: 18; }
    Field Input, Field Select { width: 1fr; }
    Field .below { color: $text-muted; padding: 0 0 0 18; }
    Field .below:ansi { text-style: dim; }
    Field.-here .label { text-style: bold reverse; }
    Field.-wrong .below { color: $text-error; text-style: bold; }
    """

    def __init__(self, name: str, label: str, explained: str, entry: Input | Select[str]) -> None:
        super().__init__(id=field_id(name))
        self._label, self._explained, self._entry = label, explained, entry

    def compose(self) -> ComposeResult:
        """Label and entry, and the line below."""
        with Horizontal():
            yield Static(Text(self._label, no_wrap=True, overflow="ellipsis"), classes="label")
            yield self._entry
        yield Static(Text(self._explained), classes="below", markup=False)

    def judge(self, problem: str | None) -> None:
        """Show what is wrong in place of the help, or the help again."""
        self.set_class(problem is not None, "-wrong")
        self.query_one(".below", Static).update(Text(f"! {plain(problem)}" if problem else self._explained))

    def on_descendant_focus(self) -> None:
        """Mark the label of the entry that has the keys: not every terminal shows it otherwise."""
        self.add_class("-here")

    def on_descendant_blur(self) -> None:
        """The keys have gone elsewhere."""
        self.remove_class("-here")

    @property
    def typed(self) -> str:
        """What was typed or chosen; empty for nothing."""
        value = self._entry.value
        return value if isinstance(value, str) else ""


class LaunchScreen(Screen[None]):
    """The form. What is left empty is as the recipe has it."""

    CSS = """
    #body { height: 1fr; }
    #form { height: 1fr; }
    #form .section { text-style: bold; padding: 1 1 0 1; }
    #beside { height: auto; max-height: 9; border-top: solid $panel; padding: 0 1; }
    #command { height: auto; max-height: 4; padding: 0 1; background: $panel; }
    LaunchScreen.-wide #body { layout: horizontal; }
    LaunchScreen.-wide #form { width: 3fr; }
    LaunchScreen.-wide #beside { width: 2fr; height: 1fr; max-height: 100%; border-top: none;
                                 border-left: solid $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+t", "check", "Check and estimate"),
        Binding("ctrl+y", "copy_command", "Copy command"),
    ]

    class Answered(Message):
        """The command that starts or plans has ended."""

        def __init__(self, starting: bool, done: commands.Done) -> None:
            super().__init__()
            self.starting, self.done = starting, done

    class DataChecked(Message):
        """The check of the corpora has ended."""

        def __init__(self, done: commands.Done) -> None:
            super().__init__()
            self.done = done

    def __init__(self, root: Path) -> None:
        super().__init__(id=LAUNCH_SCREEN)
        self._root = root
        self._last = remembered.launch()
        self._busy = ""
        self._planned = ("", "")

    def compose(self) -> ComposeResult:
        """The form, what is known of it beside or below, the command, the keys."""
        yield Static(Text("New run"), id="title", markup=False)
        with Vertical(id="body"):
            with VerticalScroll(id="form", can_focus=False):
                yield from self._fields()
            with VerticalScroll(id="beside"):
                yield Static("", id="verdict", markup=False)
        yield Static("", id="command", markup=False)
        yield Footer()

    def _fields(self) -> Iterator[Static | Field]:
        folder = Path(self._last.get("folder", "."))
        choices = {RECIPE: form.recipes(folder), DS_CONFIG: form.ds_configs(folder)}
        for name, (label, explained) in _OPTIONS.items():
            entry: Input | Select[str]
            if name in choices:
                last = self._last.get(name, "")
                if name == RECIPE and last not in choices[name]:
                    last = "sample"
                entry = _select(choices[name], last, FITTING, allow_blank=name != RECIPE)
            else:
                entry = Input(self._last.get(name, ""), placeholder="." if name == "folder" else "", compact=True)
            yield Field(name, label, explained, entry)
        section = None
        for setting in form.SETTINGS:
            if setting.section != section:
                section = setting.section
                yield Static(f"[{section}]" if section else "of the whole recipe", classes="section", markup=False)
            yield Field(setting.name, setting.name.rpartition(".")[2], setting.help, self._entry(setting))

    def _entry(self, setting: Setting) -> Input | Select[str]:
        last = self._last.get(setting.name, "")
        if setting.choices:
            return _select(setting.choices, last, "as in the recipe", allow_blank=True)
        return Input(last, compact=True)

    def on_mount(self) -> None:
        """Judge what is remembered."""
        self._show_recipe()
        self._judge()

    @property
    def answers(self) -> Answers:
        """What was typed so far."""
        typed = {field.id: field.typed for field in self.query(Field)}
        options = {name: typed[field_id(name)] for name in (RECIPE, DS_CONFIG, DATA, SEEDS, RUN)}
        settings = {setting.name: typed[field_id(setting.name)] for setting in form.SETTINGS}
        return Answers(options, {name: value for name, value in settings.items() if value})

    @property
    def command(self) -> str:
        """The command that this form stands for, as a shell takes it."""
        return shlex.join(["mtscale", "train", *self.answers.arguments(self._root), "--detach"])

    @on(Input.Changed)
    @on(Select.Changed)
    def _changed(self, event: Input.Changed | Select.Changed) -> None:
        parent = event.control.parent
        changed = parent.parent.id if parent is not None and parent.parent is not None else None
        if changed == field_id(RECIPE):
            self._show_recipe()
        elif changed == field_id("folder"):
            self._list_folder()
        self._judge()

    def _show_recipe(self) -> None:
        """Show in every empty entry what the recipe says."""
        try:
            values = form.values_of(recipe.load(recipe.find(self.answers.options[RECIPE])))
        except ConfigError:
            return
        for setting in form.SETTINGS:
            field = self.query_one(f"#{field_id(setting.name)}", Field)
            said = plain(values[setting.name])
            for entry in field.query(Input):
                entry.placeholder = said
            for select in field.query(Select):
                select.prompt = said or "as in [refine]"

    def _list_folder(self) -> None:
        folder = Path(self.query_one(f"#{field_id('folder')}", Field).typed or ".")
        for name, found in ((RECIPE, form.recipes(folder)), (DS_CONFIG, form.ds_configs(folder))):
            select = self.query_one(f"#{field_id(name)} Select", Select)
            chosen = select.value
            with self.prevent(Select.Changed):
                select.set_options(_options(found))
                if chosen in found:
                    select.value = chosen
        self._show_recipe()

    def _judge(self) -> None:
        problems = form.problems(self.answers)
        for field in self.query(Field):
            name = next((name for name in problems if name and field_id(name) == field.id), None)
            field.judge(problems[name] if name else None)
        self.query_one("#command", Static).update(Text(f"$ {plain(self.command)}"))
        if self._busy:
            return
        if "" in problems:
            self._tell(Text(plain(problems[""]), style="bold"))
        elif problems:
            self._tell(Text(f"{len(problems)} field(s) cannot be used: what is wrong stands below each", style="bold"))
        else:
            self._tell(Text("Ready. ctrl+t checks machine and corpora and estimates memory and time; ctrl+s starts."))

    def _tell(self, text: Text) -> None:
        self.query_one("#verdict", Static).update(text)

    def action_check(self) -> None:
        """Let the command itself check all, and estimate."""
        self._ask(starting=False)

    def action_start(self) -> None:
        """Start what the form says."""
        self._ask(starting=True)

    def _ask(self, *, starting: bool) -> None:
        if self._busy == STARTING:
            self.notify("Starting already", severity="warning")
            return
        if form.problems(self.answers):
            self._judge()
            self.notify("Not started: the form cannot be used yet" if starting else "The form cannot be used yet")
            return
        # A check that runs is about what was typed before, or not waited for any more.
        self.workers.cancel_group(self, CHECKING)
        self._busy = STARTING if starting else CHECKING
        self._tell(Text("Starting ..." if starting else "Checking machine, DeepSpeed JSON and corpora ..."))
        words = ["train", *self.answers.arguments(self._root)]
        if starting:
            self._start([*words, "--detach", "--json"])
        else:
            self._check([*words, "--dry-run", "--json"], self._data_check())

    def _data_check(self) -> list[str]:
        options = self.answers.options
        data = ["--data", options[DATA]] if options[DATA] else []
        encoder = self.answers.settings.get("encoder.name")
        return ["corpora", "check", options[RECIPE], *data, *(["--encoder", encoder] if encoder else []), "--json"]

    @work(thread=True, exit_on_error=False, group=STARTING)
    def _start(self, words: list[str]) -> None:
        worker = get_current_worker()
        done = commands.run(words, lambda: not worker.is_cancelled, keep=True)
        if done is not None:
            self.post_message(self.Answered(starting=True, done=done))

    @work(thread=True, exit_on_error=False, group=CHECKING)
    def _check(self, words: list[str], data_check: list[str]) -> None:
        worker = get_current_worker()
        done = commands.run(words, lambda: not worker.is_cancelled)
        if done is None:
            return
        self.post_message(self.Answered(starting=False, done=done))
        checked = commands.run(data_check, lambda: not worker.is_cancelled) if done.succeeded else None
        if checked is not None:
            self.post_message(self.DataChecked(checked))

    @on(Answered)
    def _answered(self, event: Answered) -> None:
        if not is_there(self) or (self._busy == STARTING and not event.starting):
            return
        self._busy = ""
        if not event.done.succeeded:
            lines = [plain(line) for line in event.done.errors.splitlines() if line.strip()]
            said = "\n".join(lines) or f"mtscale ended with exit code {event.done.code}"
            self._tell(Text.assemble(("Not started\n" if event.starting else "Refused\n", "bold"), said))
            return
        if not event.starting:
            self._busy = CHECKING
            self._planned = plan_text(event.done.output)
            self._tell(Text("\n\n".join([self._planned[0], "Checking the corpora ...", self._planned[1]])))
            return
        typed = {field.id: field.typed for field in self.query(Field)}
        names = [*_OPTIONS, *(setting.name for setting in form.SETTINGS)]
        # A name is for one run only.
        kept = {name: typed[field_id(name)] for name in names if name != RUN}
        remembered.remember(remembered.LAUNCH, {name: value for name, value in kept.items() if value})
        self.post_message(RunsStarted([Path(folder) for folder in json.loads(event.done.output)["runs"]]))

    @on(DataChecked)
    def _data_checked(self, event: DataChecked) -> None:
        if not is_there(self) or self._busy == STARTING:
            return
        self._busy = ""
        findings = findings_text(event.done.output, event.done.errors)
        self._tell(Text("\n\n".join([self._planned[0], findings, self._planned[1]])))

    def action_copy_command(self) -> None:
        """Copy the command; over SSH the terminal has to allow it (OSC 52)."""
        self.app.copy_to_clipboard(self.command)
        self.notify("Command copied")

    def action_leave(self) -> None:
        """Go back; a check that runs is given up, a start is not."""
        self.dismiss()


def _options(found: list[str] | tuple[str, ...]) -> list[tuple[Text, str]]:
    return [(Text(plain(name)), name) for name in found]


def _select(found: list[str] | tuple[str, ...], last: str, prompt: str, *, allow_blank: bool) -> Select[str]:
    value = last if last in found else Select.NULL
    return Select(_options(found), prompt=prompt, value=value, allow_blank=allow_blank, compact=True)
