"""Keys: the README's table, the command palette, copying, themes, and that no colour says anything alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from mtscale_tui import keys
from mtscale_tui.app import RunsApp
from mtscale_tui.cells import STATE_STYLE, delta
from mtscale_tui.compare_screen import CompareScreen
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsTable
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import OptionList

from mtscale.runs import State
from tests.lab import ROOT
from tests.terminal import cells, make_run, until


async def rows(pilot: Pilot[None], count: int) -> None:
    await until(pilot, lambda: pilot.app.screen.query_one(RunsTable).row_count == count)


def test_the_readme_has_the_table_of_keys() -> None:
    assert keys.table() in (ROOT / "README.md").read_text(encoding="utf-8"), "python -m mtscale_tui.keys prints it"


def test_every_key_says_what_it_does_and_stands_for_one_thing() -> None:
    for owners in keys.PLACES.values():
        found = [(key, does) for owner in owners for shown, does in keys.keys_of(owner) for key in shown.split()]
        assert all(does for _, does in found)
        assert len({key for key, _ in found}) == len(found)


NAMED = {" ": "space", "-": "minus"}


async def pick(pilot: Pilot[None], words: str) -> None:
    """Type into the palette that is open, and take what it finds first."""
    palette = pilot.app.screen
    assert isinstance(palette, CommandPalette)
    await pilot.press(*(NAMED.get(character, character) for character in words))

    def found() -> bool:
        options = palette.query_one(OptionList)
        return options.option_count > 0 and words in str(options.get_option_at_index(0).prompt)

    await until(pilot, found)
    await pilot.press("enter")
    await until(pilot, lambda: pilot.app.screen is not palette)


async def open_palette(pilot: Pilot[None]) -> None:
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(pilot.app.screen, CommandPalette))


async def choose(pilot: Pilot[None], words: str) -> None:
    """Run a command of the palette."""
    await open_palette(pilot)
    await pick(pilot, words)


async def test_the_palette_has_the_keys_that_work_now(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path, f"run-{seed}", seed, group="g")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await rows(pilot, 2)
        await choose(pilot, "Fold seeds")
        await rows(pilot, 1)
        await choose(pilot, "Fold seeds")
        await rows(pilot, 2)
        await choose(pilot, "Open")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        offered = {command.title for command in app.get_system_commands(app.screen)}
        assert {"New run", "Stop", "Resume", "Metric", "Copy id", "Theme"} <= offered
        assert "Fold seeds" not in offered


async def test_ids_are_copied_where_runs_are_compared(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path, f"run-{seed}", seed)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await rows(pilot, 2)
        await pilot.press("space", "space", "c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: app.screen.query_one("#scores").row_count > 0)  # type: ignore[attr-defined]
        await pilot.press("y")
        assert app.clipboard == "id-run-1 id-run-2"


@pytest.mark.parametrize("theme", ["textual-light", "ansi-light"])
async def test_a_theme_is_chosen_by_keys_and_kept(tmp_path: Path, theme: str) -> None:
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await choose(pilot, "Theme")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pick(pilot, theme)
        await until(pilot, lambda: app.theme == theme)
    assert RunsApp(tmp_path).theme == theme


async def test_colour_only_repeats_what_is_written(tmp_path: Path) -> None:
    """States are words, differences have signs, what is not above its floor has a mark."""
    assert set(STATE_STYLE) <= set(State)
    assert [delta(value, 0.5).text for value in (0.6, 0.4, 0.5)] == ["+0.100", "-0.100", "="]
    for seed, state in ((1, State.FAILED), (2, State.FINISHED)):
        make_run(tmp_path, f"run-{seed}", seed, state=state)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await rows(pilot, 2)
        await pilot.press("space", "b")
        assert [row[:2] for row in cells(app.screen.query_one(RunsTable))] == [["* ", "finished"], [" B", "failed"]]
