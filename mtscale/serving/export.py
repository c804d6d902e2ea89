"""What was trained as folders that other tools load.

One task becomes an ordinary Hugging Face folder whose ``pipeline`` gives the labels and scores of ``mtscale predict``:

    tagging                 AutoModelForTokenClassification, pipeline(aggregation_strategy="first"); a head with the
                            classes of pieces also needs ignore_labels=["O", "X", "CLS", "SEP"]
    relation, inference     AutoModelForSequenceClassification; pairs as {"text": first, "text_pair": second}
    similarity              the same with one output and problem_type "regression"

It takes what one input of the encoder holds: sentences as training cuts them, relation arguments marked already, and
pairs in the order of training. All
tasks together become a folder that ``mtscale predict`` loads, with the encoder in it as a Hugging Face folder.
"""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, PreTrainedModel

from mtscale.corpora.tags import iob2_classes
from mtscale.errors import ConfigError
from mtscale.metrics.spans import PIECE_CLASSES
from mtscale.model.packing import Layout
from mtscale.sealed import seal
from mtscale.serving.trained import DESCRIPTION, ENCODER, HEADS, TrainedModel, describe
from mtscale.tasks import Kind, Task

CARD = "README.md"
SCORE = "score"
# float32, one pass of the encoder: sums in another order.
_TOLERANCE = 1e-4


def export_task(trained: TrainedModel, task: Task, folder: Path, card: str) -> None:
    """Write one head with the encoder as an ordinary Hugging Face folder.

    Raises:
        ConfigError: the folder is there already or cannot be written, or the encoder's architecture has no class in
            transformers that computes what this head does.
    """
    model = plain_model(trained, task)
    tokenizer = copy.deepcopy(trained.tokenizer)
    tokenizer.model_max_length = trained.longest(task)
    with _new_folder(folder) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        (aside / CARD).write_text(card, encoding="utf-8")


def export_model(trained: TrainedModel, folder: Path, card: str) -> None:
    """Write the encoder with all of its heads.

    Raises:
        ConfigError: the folder is there already or cannot be written.
    """
    with _new_folder(folder) as aside:
        shutil.copytree(trained.folder / ENCODER, aside / ENCODER)
        shutil.copyfile(trained.folder / HEADS, aside / HEADS)
        description = describe(trained.tasks, trained.max_pieces, trained.procedure)
        (aside / DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")
        seal(aside)
        # Not of the manifest: a card is for people to complete.
        (aside / CARD).write_text(card, encoding="utf-8")


def plain_model(trained: TrainedModel, task: Task) -> PreTrainedModel:
    """The model of transformers that computes what a task's head does: built by its type, then tried.

    Raises:
        ConfigError: there is none.
    """
    encoder = trained.model.encoder
    config = copy.deepcopy(encoder.config)
    labels = list(task.labels) or [SCORE]
    if task.kind is Kind.TAGGING:
        labels = [*iob2_classes(task.labels), *(PIECE_CLASSES if trained.piece_classes else ())]
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    auto = AutoModelForTokenClassification if task.kind is Kind.TAGGING else AutoModelForSequenceClassification
    if task.kind is not Kind.TAGGING:
        config.problem_type = "regression" if task.kind is Kind.SIMILARITY else "single_label_classification"
    try:
        model: PreTrainedModel = auto.from_config(  # type: ignore[no-untyped-call]
            config, attn_implementation="eager", dtype=torch.float32
        )
        _take_weights(trained, task, model)
        agrees = _agrees(trained, task, model)
    except (ValueError, RuntimeError):  # no such class, or weights of other shapes
        agrees = False
    if not agrees:
        raise ConfigError(
            f"task {task.name}: transformers has no class for {config.model_type} that computes what this head does; "
            "export the whole model instead, without --task"
        )
    return model


def _take_weights(trained: TrainedModel, task: Task, model: PreTrainedModel) -> None:
    pooler = trained.model.pooler if trained.model.uses_pooler(task.name) else None
    base = model.base_model
    state = dict(trained.model.encoder.state_dict())
    if pooler is not None and getattr(base, "pooler", None) is not None:
        state |= {f"pooler.{name}": tensor for name, tensor in pooler.state_dict().items()}
    base.load_state_dict({name: tensor.cpu() for name, tensor in state.items()})
    shared = {id(module) for module in base.modules()}
    own = [module for module in model.modules() if isinstance(module, nn.Linear) and id(module) not in shared]
    sources = [trained.model.head(task.name).output]
    if len(own) == 2 and pooler is not None:
        # RoBERTa and its kin have the pooler's layer in the head.
        sources.insert(0, next(module for module in pooler.modules() if isinstance(module, nn.Linear)))
    if len(own) != len(sources):
        raise ValueError(f"expected {len(sources)} layers in the head, found {len(own)}")
    for layer, source in zip(own, sources, strict=True):
        layer.load_state_dict(source.state_dict())


@torch.no_grad()
def _agrees(trained: TrainedModel, task: Task, model: PreTrainedModel) -> bool:
    """Whether both compute the same logits of a short row."""
    model.train(False)
    ids = trained.vocabulary
    known = range(min(trained.model.encoder.config.vocab_size, 40))
    row = torch.tensor([ids.cls_id, *(piece for piece in known if piece % 3 == 0), ids.sep_id])
    device = trained.device
    read = torch.arange(len(row)) if task.kind is Kind.TAGGING else torch.tensor([0])
    layout = Layout(1, len(row), torch.arange(len(row))).to(device)
    types = torch.zeros_like(row)
    expected = trained.model(task.name, row.to(device), types.to(device), layout, read.to(device)).float().cpu()
    found: Tensor = model(input_ids=row[None], attention_mask=torch.ones_like(row)[None]).logits[0]
    return bool((found.view(expected.shape) - expected).abs().max() < _TOLERANCE)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A private folder that is built aside and gets its name when it is complete."""
    aside = folder.with_name(f".{folder.name}.unfinished")
    if folder.exists():
        raise ConfigError(f"{folder} exists already; choose another --output")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        yield aside
        for path in aside.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        aside.rename(folder)
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror}; choose another --output") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
