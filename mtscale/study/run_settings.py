"""The settings of runs as they stand in their directories, and those that differ."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mtscale.runs import RunDirectory

# What every run of a group has its own of.
_OF_A_RUN = frozenset({"seeds"})


def differing(models: Sequence[Iterable[RunDirectory]]) -> dict[str, list[str]]:
    """The settings that are not the same in all models, by dotted name, with the value in each.

    A model of several recipes has all of their values; one without the setting has a dash.
    """
    settings = [_of_model(runs) for runs in models]
    names = dict.fromkeys(name for one in settings for name in one)
    found = {name: [one.get(name, "-") for one in settings] for name in names if name not in _OF_A_RUN}
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _of_model(runs: Iterable[RunDirectory]) -> dict[str, str]:
    values: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in _of_run(run):
            values.setdefault(name, {})[value] = None
    return {name: "; ".join(found) for name, found in values.items()}


def _of_run(run: RunDirectory) -> Iterator[tuple[str, str]]:
    yield from _flat(tomllib.loads((run.path / "recipe.toml").read_text(encoding="utf-8")), "")
    yield from _flat(json.loads((run.path / "ds_config.json").read_text(encoding="utf-8")), "ds_config.")


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Leaves by their dotted names; of a recipe's tasks, which are tables in a list, by the names of the tasks."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}{key}.")
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
        for one in value:
            own = {key: inner for key, inner in one.items() if key != "name"}
            yield from _flat({one["name"]: own or "there"}, name)
    else:
        yield name.removesuffix("."), value if isinstance(value, str) else json.dumps(value, default=str)
