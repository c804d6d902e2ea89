"""What is trained: the mixture of the public corpora (or the packaged sample), and mtscale's own loop over it.

python -m benchmarks.workload ENCODER [DATA_ROOT [DROPOUT]]     trains, takes steps as asked on standard input
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase

from benchmarks.processes import Step
from benchmarks.public import PUBLIC, has_public_corpora
from benchmarks.turns import Turns
from mtscale import ds_config, recipe
from mtscale.inputs.schedule import Epoch, ScheduledBatch
from mtscale.model.encoder import load_encoder, load_tokenizer
from mtscale.model.multitask import MultiTaskModel
from mtscale.recipe import Recipe
from mtscale.tasks import TASKS, Task
from mtscale.training import distributed, host_memory
from mtscale.training.journal import SilentJournal
from mtscale.training.loop import Loop, RunPlan, Splits, Surroundings, schedule_of
from mtscale.training.machine import probe
from mtscale.training.stages import encode_tasks, mean_scores
from mtscale.training.stop import StopRequest

SEED = 1
DROPOUT = 0.1
MAX_PIECES = 128
# The recipes are for BERT-base and days, or for the sample alone; here all train alike.
SETTINGS = (
    f"encoder.dropout={DROPOUT}",
    f"refine.head_dropout={DROPOUT}",
    "refine.batch_size=32",
    "refine.epochs=1",
    "refine.learning_rate=5e-4",
    'refine.batches="recomposed"',
    'refine.order="by_length"',
)


@dataclass(frozen=True)
class Workload:
    """A recipe with its tasks encoded."""

    recipe: Recipe
    tasks: tuple[Task, ...]
    data_root: Path | None
    splits: Splits
    tokenizer: PreTrainedTokenizerBase

    def epoch(self, seed: int, *, order: str | None = None) -> Epoch:
        """The mini-batches of the first epoch; with the same task at each step whatever the order of rows."""
        settings = self.recipe.refine
        if order is not None:
            settings = settings.model_copy(update={"order": order})
        return schedule_of(self.tasks, settings, seed, self.splits).epoch(1)

    def planned(self, batches: Sequence[ScheduledBatch]) -> list[Step]:
        """What is in each mini-batch."""
        lengths = {task.name: self.splits[task.name]["train"].lengths for task in self.tasks}
        found = [(batch.task, lengths[batch.task][batch.rows]) for batch in batches]
        return [Step(task, len(rows), int(rows.sum()), len(rows) * int(rows.max())) for task, rows in found]


def load(data_root: Path | None, encoder: str = "sample", settings: Sequence[str] = SETTINGS) -> Workload:
    """The public mixture where its corpora are, else the packaged sample."""
    public = has_public_corpora(data_root)
    path = recipe.find(PUBLIC if public else "sample")
    loaded = recipe.load(path, [f'encoder.name="{encoder}"', *settings])
    root = data_root if public else None
    tasks = tuple(table.resolve(root, path.parent) for table in loaded.tasks)
    tokenizer = load_tokenizer(encoder)
    return Workload(loaded, tasks, root, encode_tasks(loaded, tasks, root, tokenizer), tokenizer)


def load_sample(*names: str) -> Workload:
    """Some tasks of the packaged sample."""
    loaded = recipe.load(recipe.find("sample"), list(SETTINGS))
    tasks = tuple(TASKS[name] for name in names)
    tokenizer = load_tokenizer("sample")
    return Workload(loaded, tasks, None, encode_tasks(loaded, tasks, None, tokenizer), tokenizer)


def as_in_training() -> None:
    """Set this process up as ``mtscale train`` does; to be called before the first tensor."""
    if not torch.cuda.is_available():
        host_memory.keep_freed()


def mtscale_loop(work: Workload, seed: int, folder: Path, stop: StopRequest) -> Loop:
    """The loop of a refine run with the shipped DeepSpeed JSON that fits the machine, at its first step."""
    machine, ranks = probe(), distributed.ranks_from_environment()
    device = distributed.start(ranks, machine)
    config = ds_config.load(ds_config.find(ds_config.shipped_for(machine)))
    settings, encoder = work.recipe.refine, work.recipe.encoder
    plan = RunPlan(
        name="bench",
        stage="refine",
        seed=seed,
        tasks=work.tasks,
        settings=settings,
        encoder=encoder.name,
        protocol="clean",
        resolved=ds_config.resolve(
            config,
            batch_size=settings.batch_size,
            clip=settings.clip,
            world_size=ranks.world_size,
            machine=machine,
        ),
    )
    around = Surroundings(folder, work.data_root, work.splits, work.tokenizer, ranks, device, stop)
    torch.manual_seed(seed)
    loaded, _ = load_encoder(encoder.name, encoder.dropout, encoder.max_pieces)
    scores = mean_scores(work.tasks, work.splits)
    return Loop(
        plan, around, MultiTaskModel(loaded, work.tasks, settings.head_dropout, seed, scores), folder, SilentJournal()
    )


class InTurns(StopRequest):
    """Lets mtscale's loop go a step when one is asked for."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def agreed(self, stop_file: Path, device: torch.device) -> bool:
        """Asked by the loop before each step."""
        self._turns.wait()
        return super().agreed(stop_file, device)


def train_in_turns(encoder: str, data_root: str = "", dropout: str = str(DROPOUT)) -> None:
    """The worker that trains with mtscale; of several ranks the first one leads."""
    as_in_training()
    settings = (*SETTINGS, f"encoder.dropout={json.dumps(dropout) if dropout.isalpha() else dropout}")
    work = load(Path(data_root) if data_root else None, encoder, settings)
    leads = distributed.ranks_from_environment().is_main
    stop = InTurns(Turns(work.planned(work.epoch(SEED)))) if leads else StopRequest()
    with tempfile.TemporaryDirectory() as folder:
        mtscale_loop(work, SEED, Path(folder), stop).run()


def weights(encoder: str) -> int:
    """The weights that each word piece meets in the forward pass of the shared layers, without the embeddings.

    Embeddings are looked up, and the pooler sees one piece of each example.
    """
    model, _ = load_encoder(encoder, "checkpoint", MAX_PIECES)
    return sum(
        tensor.numel() for name, tensor in model.named_parameters() if not name.startswith(("embeddings.", "pooler."))
    )


def useful_flops(steps: Sequence[Step], weights: int) -> float:
    """Operations a second on real pieces: 2 a weight and piece forward, 4 backward. Attention products are left out."""
    return 6 * weights * sum(step.pieces for step in steps) / sum(step.seconds for step in steps)


def make_bert_base(folder: Path) -> None:
    """An encoder of BERT-base's shape with seeded random weights, and the sample's tokenizer."""
    torch.manual_seed(1)
    BertModel(BertConfig()).save_pretrained(folder)
    load_tokenizer("sample").save_pretrained(folder)


def per_task(steps: Sequence[Step]) -> Mapping[str, float]:
    """Examples a second of all steps, and of those of each task."""
    names = dict.fromkeys(step.task for step in steps)
    chosen = {"all": list(steps)} | {name: [step for step in steps if step.task == name] for name in names}
    return {
        name: sum(step.examples for step in found) / sum(step.seconds for step in found)
        for name, found in chosen.items()
    }


if __name__ == "__main__":
    train_in_turns(*sys.argv[1:])
