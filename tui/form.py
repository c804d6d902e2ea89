"""The launch form as data: its fields come from the recipe schema, its answers become a command. No widgets here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mtscale import ds_config, recipe
from mtscale.errors import ConfigError
from mtscale.recipe import Recipe

# Fields of the form that are options of the command, not settings of the recipe.
RECIPE, DS_CONFIG, DATA, SEEDS, RUN = "recipe", "ds_config", "data", "seeds", "run"
# The tasks are tables of their own; the others stand at the top of the form.
_NOT_ASKED = frozenset({"name", "tasks", "seeds", "data_root"})
_LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a recipe; ``name`` is dotted, ``choices`` is empty where anything may be typed."""

    name: str
    help: str
    choices: tuple[str, ...]
    is_text: bool
    is_number: bool
    is_list: bool

    @property
    def section(self) -> str:
        """The table of the recipe; empty for its top."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Answers:
    """What was typed: the options of the command, and the settings that are not to be the recipe's."""

    options: Mapping[str, str]
    settings: Mapping[str, str]

    def overrides(self) -> list[str]:
        """The settings as ``--set`` takes them."""
        known = {setting.name: setting for setting in SETTINGS}
        return [f"{name}={_toml(known[name], typed)}" for name, typed in self.settings.items() if typed]

    def arguments(self, runs: Path) -> list[str]:
        """The options of ``mtscale train``."""
        given = {
            "--recipe": self.options.get(RECIPE, ""),
            "--ds_config": self.options.get(DS_CONFIG, ""),
            "--data": self.options.get(DATA, ""),
            "--seed": self.options.get(SEEDS, "").replace(" ", ""),
            "--run": self.options.get(RUN, ""),
        }
        words = [word for name, value in given.items() if value for word in (name, value)]
        words += [word for override in self.overrides() for word in ("--set", override)]
        return [*words, "--runs", str(runs)]


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """The settings of a table and of the tables in it, in their order in the schema."""
    for name, field in model.model_fields.items():
        if not prefix and name in _NOT_ASKED:
            continue
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from settings_of(annotation, f"{prefix}{name}.")
        else:
            yield _setting(f"{prefix}{name}", field)


def _setting(name: str, field: FieldInfo) -> Setting:
    parts = list(_parts(field.annotation))
    choices = tuple(choice for part in parts if get_origin(part) is Literal for choice in get_args(part))
    typed = [part for part in parts if get_origin(part) is not Literal]
    is_list = any(get_origin(part) is tuple for part in typed)
    limits = [
        f"{sign} {getattr(one, key)}" for one in field.metadata for key, sign in _LIMITS.items() if hasattr(one, key)
    ]
    said = [field.description or "", f"({', '.join(limits)})" if limits else ""]
    return Setting(
        name=name,
        help=" ".join(filter(None, said)),
        # A choice beside numbers, as 'checkpoint' for a dropout, is typed like them.
        choices=choices if not typed else (),
        is_text=str in typed or bool(choices),
        is_number=int in typed or float in typed,
        is_list=is_list,
    )


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that a value may have, but None."""
    if get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    elif annotation is not NoneType:
        yield annotation


def _toml(setting: Setting, typed: str) -> str:
    """A typed value as TOML: quotes are put around texts, nobody has to type them."""
    if setting.is_list:
        return json.dumps([part.strip() for part in typed.split(",")])
    if setting.is_text and not (setting.is_number and _is_number(typed)):
        return json.dumps(typed)
    return typed.strip()


def _is_number(typed: str) -> bool:
    try:
        float(typed)
    except ValueError:
        return False
    return True


SETTINGS: tuple[Setting, ...] = tuple(settings_of(Recipe))


def values_of(loaded: Recipe) -> dict[str, str]:
    """The value of every setting in a recipe, as it would be typed; empty where it has none."""
    content = loaded.model_dump(mode="json")
    return {setting.name: _typed(_at(content, setting.name.split("."))) for setting in SETTINGS}


def _at(content: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        content = content[key]
    return content


def _typed(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def recipes(folder: Path) -> list[str]:
    """What ``--recipe`` may be: the shipped ones by name, then the TOML files of a folder."""
    return [*sorted(path.stem for path in recipe.RECIPES.glob("*.toml")), *_files(folder, ".toml")]


def ds_configs(folder: Path) -> list[str]:
    """What ``--ds_config`` may be: the shipped ones by name, then the JSON files of a folder."""
    return [*sorted(path.stem for path in ds_config.SHIPPED.glob("*.json")), *_files(folder, ".json")]


def _files(folder: Path, suffix: str) -> list[str]:
    try:
        return sorted(str(path) for path in folder.expanduser().iterdir() if path.suffix == suffix and path.is_file())
    except OSError:
        return []


def problems(answers: Answers) -> dict[str, str]:
    """What is wrong with the answers, by field; under "" what belongs to none. The command refuses the same."""
    found: dict[str, str] = {}
    try:
        path = recipe.find(answers.options.get(RECIPE, ""))
    except ConfigError as error:
        return {RECIPE: str(error)}
    overrides = answers.overrides()
    if seeds := answers.options.get(SEEDS, ""):
        try:
            overrides.append(f"seeds={[int(part) for part in seeds.split(',')]}")
        except ValueError:
            found[SEEDS] = f"expected whole numbers separated by commas, found {seeds!r}"
    known = {setting.name for setting in SETTINGS}
    for name, message in recipe.problems(path, overrides).items():
        base = name.partition("[")[0]
        place = SEEDS if base == "seeds" else base if base in known else ""
        text = message if place or not name else f"{name}: {message}"
        found[place] = f"{found[place]}; {text}" if place in found else text
    if config := answers.options.get(DS_CONFIG, ""):
        try:
            ds_config.load(ds_config.find(config))
        except ConfigError as error:
            found[DS_CONFIG] = str(error)
    return found
