"""Checkpoints: the weights of the kept epoch, and complete states from which a run goes on.

    checkpoints/best/       encoder/ (an ordinary Hugging Face folder), heads.safetensors, manifest.json
    checkpoints/step-N/     DeepSpeed's files, the state of each rank's random generators, state.json, manifest.json

Both are built aside and renamed when complete, and used only if every file agrees with the manifest.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mtscale.errors import MtscaleError
from mtscale.model.multitask import MultiTaskModel
from mtscale.sealed import damage, seal, sync_folder
from mtscale.training.distributed import Ranks, barrier, broadcast
from mtscale.training.engine import Engine

logger = logging.getLogger(__name__)

KEPT_STATES = 2


@dataclass
class Position:
    """Where a run stands besides weights and optimizer: steps and whole epochs done, steps skipped as not finite."""

    step: int = 0
    epochs_done: int = 0
    nonfinite_steps: int = 0
    nonfinite_in_a_row: int = 0


@dataclass
class LoopState(Position):
    """The position of a run on tasks, and its best epoch so far.

    ``best_scores`` are those of the epoch with the best macro score, ``own_best_scores`` each task's own best.
    """

    best_epoch: int = 0
    best_macro: float = float("-inf")
    best_scores: dict[str, float] = field(default_factory=dict)
    own_best_scores: dict[str, float] = field(default_factory=dict)
    last_scores: dict[str, float] = field(default_factory=dict)


State = TypeVar("State", bound=Position)


def save_state(folder: Path, engine: Engine, state: Position, ranks: Ranks) -> None:
    """Save everything an exact resume needs as ``step-N`` in ``folder``. Every rank must call it.

    Raises:
        OSError, RuntimeError, SafetensorError: it could not be written; what was written of it is removed.
    """
    target = folder / f"step-{state.step}"
    aside = folder / f".saving-{target.name}"
    # A run stopped right after a save stands where it did: replacing that state would only put it at risk.
    if broadcast(ranks.is_main and damage(target) is None, ranks):
        return
    try:
        _build_state(aside, engine, state, ranks)
        if ranks.is_main:
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
            sync_folder(folder)
            for old in _states(folder)[:-KEPT_STATES]:
                shutil.rmtree(old)
    except Exception:
        # A full disk has room again for the final state of the run.
        shutil.rmtree(aside, ignore_errors=True)
        raise
    barrier(ranks)


def _build_state(aside: Path, engine: Engine, state: Position, ranks: Ranks) -> None:
    """Write a whole state into the folder ``aside``, in which every rank has a part."""
    if ranks.is_main:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
    barrier(ranks)
    engine.save(aside, "deepspeed")
    generators = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda.get_rng_state(engine.device)
    save_file(generators, aside / f"random-{ranks.rank}.safetensors")
    barrier(ranks)
    if ranks.is_main:
        facts = asdict(state) | {"world_size": ranks.world_size, "zero_stage": engine.resolved.zero_stage}
        (aside / "state.json").write_text(json.dumps(facts), encoding="utf-8")
        seal(aside)


def load_state(folder: Path, engine: Engine, ranks: Ranks, kind: type[State]) -> State | None:
    """Load the newest whole state, of a ``kind``, or None if there is none. Every rank must call it.

    A state that as many ranks have saved with the same ZeRO stage is taken up exactly. So is one of stage 0 by any
    number of ranks, but for the random draws of dropout. Otherwise each rank has saved its own part of the optimizer's
    state, which DeepSpeed does not cut anew: weights and position are taken, and the moments begin at zero.
    """
    chosen = None
    if ranks.is_main:
        _tidy(folder)
        chosen = _newest_whole(folder)
    chosen = broadcast(chosen, ranks)
    if chosen is None:
        return None
    facts = json.loads((chosen / "state.json").read_text(encoding="utf-8"))
    saved = facts.pop("world_size"), facts.pop("zero_stage")
    found = ranks.world_size, engine.resolved.zero_stage
    weights_only = saved != found and (saved[1] > 0 or found[1] > 0)
    if saved != found and ranks.is_main:
        what = "weights and position; the optimizer's moments begin anew" if weights_only else "everything but dropout"
        logger.warning(
            "%s was saved by %d ranks with ZeRO %d; now %d ranks with ZeRO %d take from it %s",
            *(chosen, *saved, *found, what),
        )
    engine.load(chosen, "deepspeed", weights_only=weights_only)
    own = chosen / f"random-{ranks.rank}.safetensors"
    if own.exists():
        generators = load_file(own)
        torch.set_rng_state(generators["cpu"])
        if "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], engine.device)
    return kind(**facts)


def save_best(folder: Path, engine: Engine, model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save the present weights as ``best`` in ``folder``. Rank 0 calls it."""

    def write(aside: Path) -> None:
        weights = engine.weights()
        encoder = {
            name.removeprefix("encoder."): tensor for name, tensor in weights.items() if not name.startswith("heads.")
        }
        heads = {name.removeprefix("heads."): tensor for name, tensor in weights.items() if name.startswith("heads.")}
        with _pooler_in_place(model):
            model.encoder.save_pretrained(aside / "encoder", state_dict=encoder)
        tokenizer.save_pretrained(aside / "encoder")
        save_file(heads, aside / "heads.safetensors")

    replace_best(folder, write)


def replace_best(folder: Path, write: Callable[[Path], None]) -> None:
    """Put what ``write`` puts into an empty folder in the place of ``best``, once it is complete."""
    target, aside, old = folder / "best", folder / ".saving-best", folder / ".old-best"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    write(aside)
    seal(aside)
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        target.rename(old)
    aside.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def load_best(folder: Path) -> dict[str, Tensor]:
    """The weights that ``save_best`` saved, by the names of ``MultiTaskModel``.

    Raises:
        MtscaleError: they are not what was saved.
    """
    if (found := damage(folder / "best")) is not None:
        raise MtscaleError(
            f"the weights of the kept epoch are damaged ({folder / 'best'}: {found}) and cannot be scored: put that "
            "folder back from a copy, or train again under another --run name"
        )
    encoder = load_file(folder / "best" / "encoder" / "model.safetensors")
    heads = load_file(folder / "best" / "heads.safetensors")
    weights = {(name if name.startswith("pooler.") else f"encoder.{name}"): tensor for name, tensor in encoder.items()}
    return weights | {f"heads.{name}": tensor for name, tensor in heads.items()}


@contextlib.contextmanager
def _pooler_in_place(model: MultiTaskModel) -> Iterator[None]:
    """The encoder as Hugging Face knows it, for the time of saving: the pooler is one of its parts."""
    model.encoder.register_module("pooler", model.pooler)
    try:
        yield
    finally:
        model.encoder.register_module("pooler", None)


def _states(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _newest_whole(folder: Path) -> Path | None:
    """The newest state that is what was saved; of a damaged one it is said what is taken instead."""
    damaged = False
    for state in reversed(_states(folder)):
        if (found := damage(state)) is None:
            return state
        damaged = True
        logger.warning("%s is damaged (%s): looking for the checkpoint before it", state, found)
    if damaged:
        logger.warning("%s holds no whole checkpoint: the run begins anew", folder)
    return None


def _tidy(folder: Path) -> None:
    """Remove what a save that was cut off has left; the kept weights it was about to replace come back."""
    for left in folder.glob(".saving-*"):
        shutil.rmtree(left)
    old, best = folder / ".old-best", folder / "best"
    if old.exists() and not best.exists():
        old.rename(best)
    shutil.rmtree(old, ignore_errors=True)
