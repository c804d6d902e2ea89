"""Recipes: TOML files that say *what* to train. On which hardware is said by ``ds_configs/*.json``.

This schema is the one place of every setting: its names, defaults, limits and explanations feed the documentation
and whatever else shows settings. Defaults < recipe file < ``--set``. Unknown keys are refused, all problems are
reported at once, each with its file and line.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mtscale import recipe_errors
from mtscale.errors import ConfigError
from mtscale.names import TASK_NAME
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.tasks import TASKS, Access, Kind, Task

RECIPES = Path(__file__).parent / "recipes"

StageName = Literal["refine", "finetune"]
Protocol = Literal["clean", "paper"]
LossWeights = Literal["static", "uncertainty"]
Mixing = Literal["proportional", "annealed", "temperature", "uniform", "round_robin"]


class Section(BaseModel):
    """A table of a recipe: unknown keys are refused, values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EncoderSettings(Section):
    """``[encoder]``: the shared layers."""

    name: str = Field(
        "sample", description="hub id, alias (biobert, ...), folder, or 'sample' for the packaged encoder"
    )
    max_pieces: int = Field(128, ge=8, le=512, description="longest input in word pieces, [CLS] and [SEP] included")
    dropout: Literal["checkpoint"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        "checkpoint", description="hidden and attention dropout; 'checkpoint' keeps the encoder's own"
    )


class StageSettings(Section):
    """``[refine]``, and ``[finetune]`` where it differs. Defaults are section 4.2 of the paper."""

    epochs: int = Field(100, ge=1, description="passes over the training examples, at most")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better dev score")
    batch_size: int = Field(32, ge=1, description="examples in a mini-batch, over all ranks")
    learning_rate: float = Field(5e-5, gt=0, description="peak learning rate of Adamax")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises linearly")
    weight_decay: float = Field(0.01, ge=0, description="decoupled decay of weights (no biases, no layer norms)")
    clip: float = Field(1.0, gt=0, description="largest global gradient norm")
    head_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before each head")
    mixing: Mixing = Field(
        "proportional",
        description="'proportional': every mini-batch of every task once an epoch (Algorithm 1); the others give small "
        "tasks more of as many steps (inputs/mixing.py)",
    )
    temperature: float = Field(2.0, ge=1, description="for mixing = 'temperature': shares as size ** (1 / temperature)")
    loss_weights: LossWeights = Field(
        "static",
        description="'static': each task's loss_weight; 'uncertainty': times a weight learned with the task's head "
        "(Kendall, Gal and Cipolla 2018, arXiv:1705.07115)",
    )
    affinity_every: int | None = Field(
        None,
        ge=1,
        description="refine: after so many steps each, sample the tasks' gradient cosines and look-ahead affinities "
        "(training/affinity.py says what that costs)",
    )
    batches: Literal["recomposed", "fixed"] = Field(
        "recomposed", description="mini-batches composed anew each epoch, or once as Algorithm 1 prints it"
    )
    order: Literal["by_length", "random"] = Field(
        "by_length", description="examples of similar length together (less padding), or at random"
    )


class FinetuneSettings(Section):
    """``[finetune]``: what is not given is taken from ``[refine]``."""

    epochs: int = Field(10, ge=1, description="passes over the task's training examples, at most")
    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate, smaller than in refine")
    patience: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    warmup: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0)
    clip: float | None = Field(None, gt=0)
    head_dropout: float | None = Field(None, ge=0, lt=1)
    mixing: Mixing | None = None
    temperature: float | None = Field(None, ge=1)
    loss_weights: LossWeights | None = None
    batches: Literal["recomposed", "fixed"] | None = None
    order: Literal["by_length", "random"] | None = None


_SPLIT_ORDER = ("train", "dev", "test")
# What a recipe may set on a shipped task too.
_SETTINGS = ("cap", "fold", "loss_weight", "marking")


class TaskTable(Section):
    """``[[tasks]]``: the name of a shipped task, or a task of one's own with at least kind, format and files."""

    name: str = Field(pattern=f"^{TASK_NAME.pattern}$", description="a shipped task's name, or your own")
    kind: Annotated[Kind, Field(strict=False)] | None = Field(
        None, description="similarity, relation, inference, tagging"
    )
    format: str | None = Field(None, description="the format of the files")
    files: dict[str, str | Annotated[tuple[str, ...], Field(strict=False)]] | None = Field(
        None, strict=False, description="train, dev and test: a file or several, relative to data root or recipe"
    )
    labels: tuple[str, ...] = Field(
        (), strict=False, description="entity types, or classes in the order of the outputs"
    )
    negative: str | None = Field(None, description="relation: the class that means no relation")
    arguments: Annotated[tuple[str, str], Field(strict=False)] | None = Field(
        None, description="relation: the entity types of the two arguments"
    )
    relation: str | None = Field(None, description="relation: the format's name of the positive relation")
    candidates: Literal["all", "closest"] = Field(
        "all", description="relation: all mention pairs of a sentence, or of each two concepts the closest"
    )
    score_range: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        None, description="similarity: lowest and highest score"
    )
    marking: Literal["mask", "typed_markers"] = Field(
        "mask", description="relation: replace the arguments by @TYPE$, or keep them between typed markers"
    )
    columns: dict[str, str] = Field({}, description="general formats: where things stand, {role = column}")
    scheme: Literal["IOB1", "IOB2", "BIOES"] | None = Field(None, description="conll: how the tags are to be read")
    dev_fraction: float | None = Field(
        None, gt=0, lt=1, description="without dev files: the part of the training documents to take for dev"
    )
    folds: int | None = Field(None, ge=3, description="train files alone: cut their documents into so many folds")
    fold: int = Field(0, ge=0, description="the fold that is test; the next one is dev")
    split_seed: int = Field(1, ge=0, description="seed of dev_fraction and folds")
    loss_weight: float = Field(1.0, gt=0, description="multiplies the task's loss")
    cap: int | None = Field(None, ge=1, description="the most training examples of the task that an epoch counts")
    domain: str = Field("own", description="e.g. biomedical or clinical")
    access: Annotated[Access, Field(strict=False)] = Field(Access.DUA, description="'open', or 'dua' (use agreement)")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        own = self.model_fields_set - {"name", *_SETTINGS}
        if not own:
            if self.name not in TASKS:
                raise ValueError(
                    f"no shipped task {self.name!r}{recipe_errors.nearest(self.name, TASKS)}; "
                    "a task of your own needs kind, format and files"
                )
            return self._check_fold(TASKS[self.name].folds)
        if self.name in TASKS:
            raise ValueError(f"{self.name!r} is a shipped task: give your own another name")
        missing = [key for key in ("kind", "format", "files") if getattr(self, key) is None]
        if missing:
            raise ValueError(f"task {self.name!r} lacks {', '.join(missing)}")
        return self._check_kind()

    def _check_kind(self) -> Self:
        self._check_fold(self.folds)
        needed = {"train"} if self.folds else {"train", "test"} if self.dev_fraction else {"train", "dev", "test"}
        if set(self.files or ()) != needed:
            found = ", ".join(self.files or ()) or "none"
            raise ValueError(
                f"task {self.name!r}: files needs {', '.join(sorted(needed, key=_SPLIT_ORDER.index))}, found {found} "
                "(dev_fraction takes dev from train, folds all three)"
            )
        if self.kind is Kind.SIMILARITY:
            if self.labels:
                raise ValueError(f"task {self.name!r}: a similarity task has a score_range, no labels")
        elif not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"task {self.name!r}: labels must be given, each once")
        if self.kind is Kind.RELATION and self.negative not in self.labels:
            raise ValueError(f"task {self.name!r}: negative must be one of the labels")
        return self

    def _check_fold(self, folds: int | None) -> Self:
        if self.folds and self.dev_fraction:
            raise ValueError(f"task {self.name!r}: give folds or dev_fraction, not both")
        if self.fold >= (folds or 1):
            raise ValueError(f"task {self.name!r}: fold {self.fold} of {folds or 0} folds; they count from 0")
        return self

    def resolve(self, data_root: Path | None, recipe_folder: Path) -> Task:
        """The task this table stands for, its files looked up under the data root first, then beside the recipe."""
        if self.name in TASKS:
            return replace(TASKS[self.name], **{key: getattr(self, key) for key in _SETTINGS})
        assert self.kind is not None
        assert self.format is not None
        assert self.files is not None
        files = {split: (names,) if isinstance(names, str) else names for split, names in self.files.items()}
        under_root = data_root is not None and (data_root / files["train"][0]).exists()
        return Task(
            name=self.name,
            kind=self.kind,
            domain=self.domain,
            access=self.access,
            corpus="" if under_root else str(recipe_folder.resolve()),
            format=self.format,
            files=files,
            labels=self.labels,
            negative=self.negative,
            arguments=self.arguments,
            relation=self.relation,
            candidates=self.candidates,
            marking=self.marking,
            columns=self.columns,
            scheme=self.scheme,
            dev_fraction=self.dev_fraction,
            folds=self.folds,
            fold=self.fold,
            split_seed=self.split_seed,
            loss_weight=self.loss_weight,
            cap=self.cap,
            score_range=self.score_range,
        )


class Recipe(Section):
    """A whole recipe."""

    name: str = Field(pattern=f"^{TASK_NAME.pattern}$", description="what runs of this recipe are called")
    stages: tuple[StageName, ...] = Field(("refine",), strict=False, description="refine, finetune, or both in order")
    protocol: Protocol = Field(
        "clean",
        description="'clean': choose on dev, score test once; 'paper': train on train and dev, choose on test, as the "
        "authors' code does (optimistic)",
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((1,), strict=False, min_length=1)
    data_root: str | None = Field(None, description="folder of the corpora; --data and MTSCALE_DATA win over it")
    encoder: EncoderSettings = EncoderSettings()
    refine: StageSettings = StageSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    paper: PaperSettings = PaperSettings()
    tasks: tuple[TaskTable, ...] = Field(strict=False, min_length=1)

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
        if self.stages not in {("refine",), ("finetune",), ("refine", "finetune")}:
            raise ValueError("stages must be ['refine'], ['finetune'] or ['refine', 'finetune']")
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
        """The settings of a stage; finetune takes from refine what it does not set itself."""
        if stage == "refine":
            return self.refine
        own = {key: value for key, value in self.finetune.model_dump().items() if value is not None}
        return self.refine.model_copy(update={"patience": None, "affinity_every": None} | own)

    def to_toml(self) -> str:
        """The recipe with every default written out."""
        content = self.model_dump(mode="json", exclude_none=True, exclude={"tasks", *self._unused()})
        content["tasks"] = [task.model_dump(mode="json", exclude_unset=True) for task in self.tasks]
        return tomli_w.dumps(content)

    def hash(self) -> str:
        """A short hash of everything but the seeds and the place of the data: equal for the runs of a group."""
        content = self.model_dump(mode="json", exclude={"seeds", "data_root", *self._unused()})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def _unused(self) -> set[str]:
        return {"paper"} if self.protocol == "clean" else set()


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
