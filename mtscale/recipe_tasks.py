"""``[[tasks]]``: the tables of a recipe that name shipped tasks or describe one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mtscale import recipe_errors
from mtscale.names import TASK_NAME
from mtscale.recipe_sections import Section
from mtscale.tasks import TASKS, Access, Kind, Task

_SPLIT_ORDER = ("train", "dev", "test")
# What a recipe may set on a shipped task too.
_SETTINGS = ("cap", "fold", "loss_weight", "marking", "train_documents", "choosing_documents")


class TaskTable(Section):
    """``[[tasks]]``: the name of a shipped task, or a task of one's own with at least kind, format and files."""

    name: str = Field(pattern=f"^{TASK_NAME.pattern}$", description="a shipped task's name, or your own")
    kind: Annotated[Kind, Field(strict=False)] | None = Field(
        None, description="similarity, relation, inference, tagging"
    )
    format: str | None = Field(None, description="the format of the files")
    files: dict[str, str | Annotated[tuple[str, ...], Field(strict=False)]] | None = Field(
        None,
        strict=False,
        description="train, dev and test: a file or several, below the data root or beside the recipe",
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
    split_seed: int = Field(1, ge=0, description="seed of dev_fraction, folds and limits of documents")
    loss_weight: float = Field(1.0, gt=0, description="multiplies the task's loss")
    cap: int | None = Field(None, ge=1, description="the most training examples of the task that an epoch counts")
    train_documents: int | None = Field(
        None,
        ge=1,
        description="the most training documents that are used, drawn by split_seed; dev and test stay whole, but "
        "for protocol 'paper', which trains on as many of dev",
    )
    choosing_documents: int | None = Field(
        None, ge=1, description="the most dev documents that choose the epoch, drawn by split_seed"
    )
    domain: str = Field("own", description="e.g. biomedical or clinical")
    access: Annotated[Access, Field(strict=False)] = Field(Access.DUA, description="'open', or 'dua' (use agreement)")

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str | tuple[str, ...]] | None) -> dict[str, str | tuple[str, ...]] | None:
        """A recipe, which may come from elsewhere, reads below the folders that its user names, and nowhere else."""
        named = [name for value in (files or {}).values() for name in ((value,) if isinstance(value, str) else value)]
        if outside := [name for name in named if PurePath(name).is_absolute() or ".." in PurePath(name).parts]:
            raise ValueError(
                f"files lie below the data root or beside the recipe, found {', '.join(map(repr, outside))}, which "
                "lead elsewhere: name them from there and give that folder as data_root or with --data"
            )
        return files

    @field_validator("labels", "negative", "arguments", "relation", "domain")
    @classmethod
    def _printable(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        """These are shown on terminals, which act on what cannot be printed."""
        names = (value,) if isinstance(value, str) else value or ()
        if wrong := [name for name in names if not name.isprintable()]:
            raise ValueError(f"expected printable characters only, found {', '.join(map(repr, wrong))}")
        return value

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
            train_documents=self.train_documents,
            choosing_documents=self.choosing_documents,
            score_range=self.score_range,
        )
