"""A trained model, loaded from the kept epoch of a run or from an exported folder with all of its heads.

    RUN/checkpoints/best    encoder/ (an ordinary Hugging Face folder), heads.safetensors, manifest.json
    FOLDER                  the same, with model.json (the tasks and what their inputs look like) and README.md

Weights are read from safetensors only, after every file has agreed with the manifest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from mtscale import recipe
from mtscale.errors import ConfigError
from mtscale.inputs.encode import PieceVocabulary, TaskEncoder
from mtscale.model.encoder import load_encoder, load_tokenizer, positions
from mtscale.model.multitask import MultiTaskModel
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.runs import RunDirectory, find_run
from mtscale.sealed import MANIFEST, damage, file_hash
from mtscale.tasks import Access, Kind, Task

ENCODER, HEADS, DESCRIPTION = "encoder", "heads.safetensors", "model.json"
# What a prediction needs of a task, and what a reader of a model wants to know; not where its files lie.
_KEPT_OF_TASKS = (
    "name",
    "kind",
    "domain",
    "access",
    "labels",
    "negative",
    "arguments",
    "relation",
    "candidates",
    "marking",
    "score_range",
    "licence",
    "source",
)

# Batches have no padding, so nearly each has a shape of its own, for which oneDNN makes kernels. By itself it keeps the
# last 1,024: small blocks between those that tensors come and go in, with which memory grows by hundreds of MiB
# (docs/performance.md). A few are enough: the next layer of the same pass uses them again.
_ONEDNN_KERNELS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")


@dataclass(frozen=True)
class TrainedModel:
    """An encoder with its heads, set for prediction in float32, and the tasks that it was trained on.

    ``folder`` holds its files, and ``hash`` is that of their manifest: two models that differ in any file differ in it.
    ``procedure`` is the one that it was trained by.
    """

    model: MultiTaskModel
    tasks: tuple[Task, ...]
    tokenizer: PreTrainedTokenizerBase
    max_pieces: int
    folder: Path
    hash: str
    procedure: PaperSettings = CLEAN_PROCEDURE

    @property
    def vocabulary(self) -> PieceVocabulary:
        """What encoding needs of the tokenizer."""
        return PieceVocabulary.of(self.tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def piece_classes(self) -> bool:
        """Whether tagging heads have the classes of pieces too."""
        return self.procedure.tag_classes == "pieces"

    def longest(self, task: Task) -> int:
        """The most pieces of an input of a task: where long sentences stay whole, as many as there are positions."""
        stays_whole = task.kind is Kind.TAGGING and self.procedure.too_long == "drop"
        return positions(self.model.encoder.config) if stays_whole else self.max_pieces

    def task_encoder(self, task: Task, *, with_gold: bool = False) -> TaskEncoder:
        """What makes inputs of a task's examples, as training does where it evaluates.

        ``with_gold`` adds labels. Without, nothing looks at gold: new text has none, so sentences are cut blindly
        whatever the procedure.
        """
        procedure = self.procedure if with_gold else self.procedure.model_copy(update={"cut": "gold_blind"})
        whole = self.longest(task) if procedure.too_long == "drop" else None
        return TaskEncoder(
            task, self.vocabulary, self.max_pieces, with_labels=with_gold, procedure=procedure, whole=whole
        )

    def chosen(self, names: Sequence[str] | None) -> tuple[Task, ...]:
        """The tasks of these names in the model's order, or all.

        Raises:
            ConfigError: the model has no such task.
        """
        if not names:
            return self.tasks
        known = [task.name for task in self.tasks]
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"the model has no task {', '.join(unknown)}; it has {', '.join(known)}")
        return tuple(task for task in self.tasks if task.name in names)


def is_export(place: str | Path) -> bool:
    """Whether a place is a folder that ``mtscale export`` made of a whole model."""
    return (Path(place).expanduser() / DESCRIPTION).is_file()


def load(place: str, runs: Path) -> TrainedModel:
    """The model of a run (id, name or directory) or of an exported folder, on the GPU where there is one.

    Raises:
        ConfigError: there is neither, the run has kept no epoch yet, or a file is not what was saved.
    """
    if is_export(place):
        return load_export(Path(place).expanduser())
    return load_run(find_run(runs, place))


def load_run(run: RunDirectory) -> TrainedModel:
    """The kept epoch of a run.

    Raises:
        ConfigError: as ``load``.
    """
    best = run.path / "checkpoints" / "best"
    if not (best / HEADS).is_file():
        raise ConfigError(
            f"{run.path}: no kept epoch in it ({best}); a run keeps its best epoch from the first evaluation on"
        )
    loaded = recipe.load(run.path / "recipe.toml")
    return _load(best, run_tasks(run), loaded.encoder.max_pieces, loaded.procedure)


def run_tasks(run: RunDirectory) -> tuple[Task, ...]:
    """The tasks that a run has trained; where the files of one's own lie is not known here.

    Raises:
        ConfigError: its recipe cannot be read.
    """
    wanted = run.record.tasks
    tables = recipe.load(run.path / "recipe.toml").tasks
    return tuple(table.resolve(None, run.path) for table in tables if table.name in wanted)


def load_export(folder: Path) -> TrainedModel:
    """The model of an exported folder.

    Raises:
        ConfigError: as ``load``.
    """
    description = read_description(folder)
    try:
        procedure = PaperSettings.model_validate(description.get("procedure"))
    except ValidationError:
        raise ConfigError(f"{folder / DESCRIPTION}: expected the switches of its procedure; export again") from None
    return _load(folder, description_tasks(description), int(description["max_pieces"]), procedure)


def describe(tasks: Sequence[Task], max_pieces: int, procedure: PaperSettings) -> dict[str, Any]:
    """What ``model.json`` says of a model."""
    kept = [{name: value for name, value in asdict(task).items() if name in _KEPT_OF_TASKS} for task in tasks]
    return {"format": 1, "max_pieces": max_pieces, "procedure": procedure.model_dump(), "tasks": kept}


def read_description(folder: Path) -> dict[str, Any]:
    """``model.json`` of an exported folder.

    Raises:
        ConfigError: it cannot be read, or is of another format.
    """
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / DESCRIPTION}: cannot read it: {type(error).__name__}; export again") from None
    if not isinstance(content, dict) or content.get("format") != 1:
        raise ConfigError(f"{folder / DESCRIPTION}: expected a description of format 1, found another; export again")
    return content


def description_tasks(description: Mapping[str, Any]) -> tuple[Task, ...]:
    """The tasks that ``model.json`` lists."""
    tasks = []
    for content in description["tasks"]:
        known = {name: content[name] for name in _KEPT_OF_TASKS}
        for name in ("labels", "arguments", "score_range"):
            known[name] = None if known[name] is None else tuple(known[name])
        kind, access = Kind(known.pop("kind")), Access(known.pop("access"))
        tasks.append(Task(**known, kind=kind, access=access, corpus="", format="", files={}))
    return tuple(tasks)


def _load(folder: Path, tasks: Sequence[Task], max_pieces: int, procedure: PaperSettings) -> TrainedModel:
    if (found := damage(folder)) is not None:
        raise ConfigError(f"{folder}: {found}; take it from a copy, or train or export again")
    os.environ.setdefault(*_ONEDNN_KERNELS)  # read when oneDNN is first used
    tokenizer = load_tokenizer(str(folder / ENCODER))
    encoder, report = load_encoder(str(folder / ENCODER), "checkpoint", max_pieces)
    if report.missing:
        raise ConfigError(f"{folder / ENCODER}: its weights lack {', '.join(report.missing[:4])}; {report}")
    heads = load_file(folder / HEADS)
    learned = any(name.endswith("log_variance") for name in heads)
    model = MultiTaskModel(
        encoder,
        tasks,
        0.0,
        0,
        {},
        learned_weights=learned,
        piece_classes=procedure.tag_classes == "pieces",
        dropout_per_example=procedure.tagging_dropout == "per_example",
    )
    load_heads(model.heads, heads, folder / HEADS)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return TrainedModel(model, tuple(tasks), tokenizer, max_pieces, folder, file_hash(folder / MANIFEST), procedure)


def load_heads(heads: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Put weights into heads.

    Raises:
        ConfigError: there are others than the heads of the tasks need.
    """
    try:
        heads.load_state_dict(dict(weights))
    except RuntimeError:
        raise ConfigError(
            f"{source}: the heads in it are not those of the model's tasks; export or train again"
        ) from None
