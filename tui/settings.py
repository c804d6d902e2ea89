"""The settings of a run as they stand in its directory, and what differs between runs; no widgets here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cells import plain

_FILES = ("recipe.toml", "ds_config.json")


@dataclass(frozen=True, slots=True)
class Settings:
    """The two files as lines, without anything that could steer the terminal."""

    recipe: tuple[str, ...]
    ds_config: tuple[str, ...]


def read_settings(directory: Path) -> Settings:
    """Both files; one that cannot be read is a line that says so."""
    return Settings(*(_lines(directory / name) for name in _FILES))


def _lines(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return (f"{path.name} cannot be read: {error.strerror}",)
    return lines_of(text)


def lines_of(text: str) -> tuple[str, ...]:
    """A text as lines that cannot steer the terminal."""
    return tuple(plain(line) for line in text.splitlines())


def differing(settings: Sequence[Settings]) -> dict[str, tuple[str, ...]]:
    """The settings that are not the same in all, by name, with the value in each; a dash where one lacks it."""
    flat = [dict(_flat_settings(one)) for one in settings]
    found = {}
    for name in dict.fromkeys(name for one in flat for name in one):
        values = tuple(one.get(name, "-") for one in flat)
        if len(set(values)) > 1:
            found[name] = values
    return found


def _flat_settings(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, lines in zip(_FILES, (settings.recipe, settings.ds_config), strict=True):
        text = "\n".join(lines)
        try:
            loaded = tomllib.loads(text) if name.endswith(".toml") else json.loads(text)
        except ValueError:
            yield name, "not readable"
            continue
        prefix = "ds_config." if name.endswith(".json") else ""
        yield from _flat(loaded, prefix)


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Leaves by their dotted names; a list of named tables, as a recipe's tasks, goes by the names."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}{key}.")
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
        for one in value:
            yield f"{name}{one['name']}", "there"
            yield from _flat({key: inner for key, inner in one.items() if key != "name"}, f"{name}{one['name']}.")
    else:
        yield plain(name.removesuffix(".")), plain(value if isinstance(value, str) else json.dumps(value, default=str))
