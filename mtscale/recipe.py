"""Recipes: TOML files that say *what* to train. On which hardware is said by ``ds_configs/*.json``.

This schema (its tables are in ``recipe_sections`` and ``recipe_tasks``) is the one place of every setting: its names,
defaults, limits and explanations feed the documentation and whatever else shows settings. Defaults < recipe file <
``--set``. Unknown keys are refused, all problems are reported at once, each with its file and line.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import tomli_w
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from mtscale import recipe_errors
from mtscale.errors import ConfigError
from mtscale.names import TASK_NAME
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.recipe_sections import (
    EncoderSettings,
    FinetuneSettings,
    PretrainSettings,
    Section,
    StageSettings,
)
from mtscale.recipe_tasks import TaskTable

RECIPES = Path(__file__).parent / "recipes"

StageName = Literal["pretrain", "refine", "finetune"]
Protocol = Literal["clean", "paper"]


class Recipe(Section):
    """A whole recipe."""

    name: str = Field(pattern=f"^{TASK_NAME.pattern}$", description="what runs of this recipe are called")
    stages: tuple[StageName, ...] = Field(
        ("refine",), strict=False, description="pretrain, refine, finetune: one, or several in this order"
    )
    protocol: Protocol = Field(
        "clean",
        description="'clean': choose on dev, score test once; 'paper': train on train and dev, choose on test, as the "
        "authors' code does (optimistic)",
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((1,), strict=False, min_length=1)
    data_root: str | None = Field(None, description="folder of the corpora; --data and MTSCALE_DATA win over it")
    encoder: EncoderSettings = EncoderSettings()
    pretrain: PretrainSettings = PretrainSettings()
    refine: StageSettings = StageSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    paper: PaperSettings = PaperSettings()
    tasks: tuple[TaskTable, ...] = Field((), strict=False, validate_default=True)

    @field_validator("tasks")
    @classmethod
    def _tasks_of_stages(cls, tasks: tuple[TaskTable, ...], info: ValidationInfo) -> tuple[TaskTable, ...]:
        if not tasks and info.data.get("stages") != ("pretrain",):
            raise ValueError("stages refine and finetune need at least one [[tasks]] table")
        return tasks

    @model_validator(mode="before")
    @classmethod
    def _batches_as_printed(cls, content: object) -> object:
        """Under the ``paper`` protocol mini-batches are those of Algorithm 1 as printed, if nothing else is asked."""
        if not isinstance(content, dict) or content.get("protocol") != "paper":
            return content
        refine = content.get("refine", {})
        if isinstance(refine, dict):
            refine = {"batches": "fixed", "order": "random", **refine}
        return {**content, "refine": refine}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.stages or self.stages != tuple(stage for stage in get_args(StageName) if stage in self.stages):
            raise ValueError("stages must be one or several of 'pretrain', 'refine', 'finetune', in this order")
        if "pretrain" in self.stages and not self.pretrain.files:
            raise ValueError("stage pretrain needs pretrain.files, the text to train on")
        task_names = [task.name for task in self.tasks]
        twice = sorted({name for name in task_names if task_names.count(name) > 1})
        if twice:
            raise ValueError(f"tasks named twice: {', '.join(twice)}")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must differ from each other")
        return self._check_protocol()

    def _check_protocol(self) -> Self:
        if self.protocol == "clean" and "paper" in self.model_fields_set:
            raise ValueError("[paper] is for protocol = 'paper' alone: leave it out or change the protocol")
        if self.protocol == "paper" and (self.refine.patience or self.finetune.patience):
            raise ValueError("patience waits for better dev scores, and protocol = 'paper' trains on dev: leave it out")
        return self

    @property
    def procedure(self) -> PaperSettings:
        """What is done where the authors' code differs: as they do, but for the ``paper`` protocol alone."""
        return self.paper if self.protocol == "paper" else CLEAN_PROCEDURE

    def settings(self, stage: StageName) -> StageSettings:
        """The settings of a stage on tasks; finetune takes from refine what it does not set itself."""
        assert stage != "pretrain"
        if stage == "refine":
            return self.refine
        own = {key: value for key, value in self.finetune.model_dump().items() if value is not None}
        return self.refine.model_copy(update={"patience": None, "affinity_every": None} | own)

    def to_toml(self) -> str:
        """The recipe with every default written out."""
        content = self.model_dump(mode="json", exclude_none=True, exclude={"tasks": True, **self._unused()})
        content["tasks"] = [task.model_dump(mode="json", exclude_unset=True) for task in self.tasks]
        return tomli_w.dumps(content)

    def hash(self) -> str:
        """A short hash of everything but the seeds and the place of the data: equal for the runs of a group."""
        content = self.model_dump(mode="json", exclude={"seeds": True, "data_root": True, **self._unused()})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def _unused(self) -> dict[str, Any]:
        unused: dict[str, Any] = {"paper": True} if self.protocol == "clean" else {}
        if "pretrain" not in self.stages:
            unused["pretrain"] = True
        elif self.pretrain.start != "scratch":
            unused["pretrain"] = {"scratch"}
        return unused


def find(name_or_path: str) -> Path:
    """The file of a recipe: a shipped one by name, or a path.

    Raises:
        ConfigError: there is none.
    """
    shipped = {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise ConfigError(
        f"no recipe {name_or_path!r}: neither a file nor one of {', '.join(shipped)}"
        f"{recipe_errors.nearest(name_or_path, shipped)}"
    )


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``--set`` overrides (``a.b=TOML value``).

    Raises:
        ConfigError: with every problem found, one a line, each with file and line.
    """
    text, content = _read(path)
    overridden = [_apply_override(content, override) for override in overrides]
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ConfigError(recipe_errors.explain(error, Recipe, path, text, content, overridden)) from error


def problems(path: Path, overrides: Sequence[str] = ()) -> dict[str, str]:
    """What ``load`` would refuse, by the dotted names of the settings; under "" what belongs to none."""
    found: dict[str, str] = {}
    try:
        _, content = _read(path)
    except ConfigError as error:
        return {"": str(error)}
    for override in overrides:
        try:
            _apply_override(content, override)
        except ConfigError as error:
            found[override.partition("=")[0].strip()] = str(error)
    try:
        Recipe.model_validate(content)
    except ValidationError as error:
        for location, message in recipe_errors.problems(error, Recipe, content):
            name = recipe_errors.dotted(location)
            found[name] = f"{found[name]}; or: {message}" if name in found else message
    return found


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the recipe: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _apply_override(content: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one dotted key in the parsed recipe; returns the key's path."""
    key, equals, value = override.partition("=")
    where = tuple(key.strip().split("."))
    if not equals or not all(where):
        raise ConfigError(f"--set {override}: expected KEY=VALUE, e.g. --set refine.epochs=3")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            f"--set {override}: the value is not TOML; a text needs quotes, e.g. --set 'encoder.name=\"sample\"'"
        ) from None
    table = content
    for part in where[:-1]:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {part!r} is not a table of the recipe")
        table = inner
    table[where[-1]] = parsed
    return where
