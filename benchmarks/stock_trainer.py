"""mtscale against the stock Hugging Face Trainer: the same encoder, tasks, batch size and dropout, on one machine.

The stock side is what one would write: a model with a head per task, batches of one task in random order, padded to the
longest row of the batch, Adamax, the Trainer's defaults otherwise. Step by step both train on the same task; blocks
of steps alternate, so that a drift of the machine meets all.

    python -m benchmarks.stock_trainer fp32|bf16 [DATA_ROOT]     trains, takes steps as asked on standard input
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

from benchmarks import workload
from benchmarks.memory import peak_memory
from benchmarks.processes import Step, Worker
from benchmarks.results import Report, Result, ratio
from benchmarks.turns import Turns
from benchmarks.workload import SEED, Workload
from mtscale.model.encoder import load_encoder
from mtscale.model.heads import num_outputs
from mtscale.tasks import Kind, Task
from mtscale.training.machine import probe
from mtscale.training.tables import table

BLOCKS = 6
STEPS = 8
WARM_UP = 3
SIDES = {
    "mtscale": ("benchmarks.workload", "sample"),
    "fp32": ("benchmarks.stock_trainer", "fp32"),
    "bf16": ("benchmarks.stock_trainer", "bf16"),
}
# Without the processor's instructions a product in bf16 takes up to a hundred times as long as one in fp32.
STEPS_OF_EMULATED_BF16 = 2
# Looking at three processes must not take their time.
SECONDS_BETWEEN_LOOKS = 0.1


class StockModel(nn.Module):
    """A shared encoder and a linear layer per task, with the loss inside as the Trainer wants it."""

    def __init__(self, encoder: PreTrainedModel, tasks: Sequence[Task], dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.kinds = {task.name: task.kind for task in tasks}
        self.weights = {task.name: task.loss_weight for task in tasks}
        self.dropout = nn.Dropout(dropout)
        hidden: int = encoder.config.hidden_size
        self.heads = nn.ModuleDict({f"{task.name}_head": nn.Linear(hidden, num_outputs(task)) for task in tasks})

    def forward(
        self, task: str, labels: Tensor, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> dict[str, Tensor]:
        """The loss of a batch of one task."""
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        kind = self.kinds[task]
        read = output.last_hidden_state if kind is Kind.TAGGING else output.pooler_output
        logits = self.heads[f"{task}_head"](self.dropout(read)).float()
        if kind is Kind.SIMILARITY:
            loss = functional.mse_loss(logits.squeeze(-1), labels.float())
        else:
            loss = functional.cross_entropy(logits.flatten(0, -2), labels.flatten())
        return {"loss": self.weights[task] * loss}


class MixedRows(Dataset[dict[str, Any]]):
    """The rows of all tasks as the Trainer's features; an index is a task and a row of it."""

    def __init__(self, work: Workload) -> None:
        self._rows = {task.name: work.splits[task.name]["train"].rows for task in work.tasks}
        self._kinds = {task.name: task.kind for task in work.tasks}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def __getitem__(self, index: tuple[str, int]) -> dict[str, Any]:
        task, number = index
        row = self._rows[task][number]
        pieces, second = row["pieces"], row["second"] or len(row["pieces"])
        return {
            "task": task,
            "input_ids": pieces,
            "token_type_ids": [int(position >= second) for position in range(len(pieces))],
            "labels": _labels(row, self._kinds[task]),
        }


def _labels(row: dict[str, Any], kind: Kind) -> float | int | list[int]:
    if kind is Kind.TAGGING:
        labels = [-100] * len(row["pieces"])
        for position, label in zip(row["word_pieces"], row["word_labels"], strict=True):
            labels[position] = label
        return labels
    found: float | int = row["score" if kind is Kind.SIMILARITY else "label"]
    return found


class OneTask:
    """Pads rows of one task to the longest of them, with transformers' own collators."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task]) -> None:
        self._kinds = {task.name: task.kind for task in tasks}
        self._tagging = DataCollatorForTokenClassification(tokenizer)
        self._others = DataCollatorWithPadding(tokenizer)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch, with the name of its task."""
        task: str = rows[0]["task"]
        features = [{name: value for name, value in row.items() if name != "task"} for row in rows]
        collator = self._tagging if self._kinds[task] is Kind.TAGGING else self._others
        return {"task": task, **collator(features)}


@dataclass(frozen=True)
class Planned:
    """A batch sampler: the given batches of one task each, in their order."""

    batches: Sequence[Sequence[tuple[str, int]]]

    def __iter__(self) -> Iterator[Sequence[tuple[str, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class MixedTrainer(Trainer):
    """The stock Trainer over batches of one task."""

    train_dataset: MixedRows
    batches: Planned

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of one task; all else is the Trainer's."""
        loader = DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)  # type: ignore[arg-type]
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]


class _InTurns(TrainerCallback):
    """Lets the Trainer go a step when one is asked for."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        self._turns.wait()
        return control


def stock_trainer(work: Workload, seed: int, folder: Path, *, bf16: bool) -> MixedTrainer:
    """The Trainer of a model with a head per task over the first epoch of the mixture, rows in random order."""
    settings, encoder = work.recipe.refine, work.recipe.encoder
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=not torch.cuda.is_available(),
        bf16=bf16,
        seed=seed,
        num_train_epochs=1,
        max_grad_norm=settings.clip,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    loaded, _ = load_encoder(encoder.name, encoder.dropout, encoder.max_pieces)
    torch.manual_seed(seed)
    model = StockModel(loaded, work.tasks, settings.head_dropout)
    batches = [[(batch.task, int(row)) for row in batch.rows] for batch in work.epoch(seed, order="random")]
    optimizer = torch.optim.Adamax(model.parameters(), lr=settings.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, round(settings.warmup * len(batches)), len(batches))  # type: ignore[no-untyped-call]
    trainer = MixedTrainer(
        model,
        arguments,
        data_collator=OneTask(work.tokenizer, work.tasks),
        train_dataset=MixedRows(work),
        optimizers=(optimizer, schedule),
    )
    trainer.batches = Planned(batches)
    return trainer


def measure(data_root: Path | None, blocks: int = BLOCKS, steps: int = STEPS) -> Report:
    """Examples a second of mtscale and of the stock Trainer in fp32 and in its bf16, and their ratios."""
    work = workload.load(data_root)
    has_bf16 = probe().cpu_bf16 or torch.cuda.is_available()
    place = [] if data_root is None else [str(data_root)]
    done: dict[str, list[list[Step]]] = {side: [] for side in SIDES}
    with contextlib.ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(*command, *place)) for side, command in SIDES.items()}
        peaks = {
            side: stack.enter_context(peak_memory(worker.pid, SECONDS_BETWEEN_LOOKS))
            for side, worker in workers.items()
        }
        for side, worker in workers.items():
            if side != "bf16" or has_bf16:
                worker.steps(WARM_UP)
        for block in range(blocks):
            for side, worker in workers.items():
                if side != "bf16" or has_bf16:
                    done[side].append(worker.steps(steps))
                elif block < STEPS_OF_EMULATED_BF16:
                    done[side].append(worker.steps(1))
        memory = {side: peak[0] for side, peak in peaks.items()}
    how = (
        f"{blocks * steps} of the {len(work.epoch(SEED)):,} steps of an epoch, drawn by seed {SEED}, "
        f"{work.recipe.name}, {work.recipe.encoder.name} encoder, batch {work.recipe.refine.batch_size}, dropout 0.1, "
        f"{blocks} alternating blocks"
    )
    return Report(_ratios(done, how, has_bf16=has_bf16), {f"Training: {how}": _table(work, done, memory)})


def _ratios(done: Mapping[str, list[list[Step]]], how: str, *, has_bf16: bool) -> dict[str, Result]:
    seconds = {side: [sum(step.seconds for step in block) for block in blocks] for side, blocks in done.items()}
    fp32 = ratio(seconds["fp32"], seconds["mtscale"], "x", f"stock Trainer's seconds in fp32 / mtscale's; {how}")
    if has_bf16:
        what = f"stock Trainer's seconds with bf16=True / mtscale's; {how}"
        return {
            "speed_vs_stock_fp32": fp32,
            "speed_vs_stock_bf16": ratio(seconds["bf16"], seconds["mtscale"], "x", what),
        }
    slower = _seconds_per_piece(done["bf16"]) / _seconds_per_piece(done["fp32"])
    what = (
        f"speed_vs_stock_fp32 times {slower:.1f}: so many times as long for a padded piece the stock Trainer took "
        f"with bf16=True, in {len(done['bf16'])} steps, on this processor without bf16 instructions"
    )
    bf16 = Result(
        value=fp32["value"] * slower, low=fp32["low"] * slower, high=fp32["high"] * slower, unit="x", how=what
    )
    return {"speed_vs_stock_fp32": fp32, "speed_vs_stock_bf16": bf16}


def _seconds_per_piece(blocks: Sequence[Sequence[Step]]) -> float:
    steps = [step for block in blocks for step in block]
    return sum(step.seconds for step in steps) / sum(step.padded for step in steps)


def _table(work: Workload, done: Mapping[str, list[list[Step]]], memory: Mapping[str, float]) -> str:
    """Examples a second by task, operations a second on real pieces, and the peak of RssAnon."""
    weights = workload.weights(work.recipe.encoder.name)
    rows = []
    for side, blocks in done.items():
        steps = [step for block in blocks for step in block]
        rates = workload.per_task(steps)
        by_task = [f"{rates[task.name]:.1f}" if task.name in rates else "-" for task in work.tasks]
        useful = workload.useful_flops(steps, weights) / 1e9
        rows.append([side, str(len(steps)), f"{rates['all']:.1f}", *by_task, f"{useful:.1f}", f"{memory[side]:.0f}"])
    names = [task.name for task in work.tasks]
    return table(["examples/s", "steps", "all", *names, "useful GFLOP/s", "peak MiB"], rows)


def train_in_turns(precision: str, data_root: str | None = None) -> None:
    """The worker that trains with the stock Trainer."""
    work = workload.load(None if data_root is None else Path(data_root))
    turns = Turns(work.planned(work.epoch(SEED, order="random")))
    with tempfile.TemporaryDirectory() as folder:
        trainer = stock_trainer(work, SEED, Path(folder), bf16=precision == "bf16")
        trainer.add_callback(_InTurns(turns))
        trainer.train()


if __name__ == "__main__":
    train_in_turns(*sys.argv[1:])
