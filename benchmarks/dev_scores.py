"""Dev scores of mtscale and of the stock Trainer after the same few examples: faster must not be worse.

Both train on the same seeded rows of two tasks, one pass, the same learning rates; both are scored by the same code on
the same dev documents. It is too little training for good scores, and enough to leave the plateau on which everything
is called O: before, a score says when a seed has left it.

    python -m benchmarks.dev_scores mtscale|stock SEED EXAMPLES DOCUMENTS [DATA_ROOT]     prints the scores by task
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks import workload
from benchmarks.processes import run
from benchmarks.public import has_public_corpora
from benchmarks.results import Report, Result
from benchmarks.stock_trainer import StockModel, stock_trainer
from benchmarks.workload import Workload
from mtscale import judge
from mtscale.corpora import catalogue
from mtscale.corpora.example import Gold, SplitName
from mtscale.inputs.batches import collate
from mtscale.inputs.cache import EncodedSplit
from mtscale.inputs.schedule import Rows
from mtscale.training import distributed
from mtscale.training.engine import Engine
from mtscale.training.evaluate import predict
from mtscale.training.loop import Loop
from mtscale.training.stop import StopRequest
from mtscale.training.tables import table

SEEDS = (1, 2, 3)
EXAMPLES = 2048
DOCUMENTS = 60
PUBLIC_TASKS = ("bc5cdr-disease", "bc5cdr-chemical")
SAMPLE_TASKS = ("cdr-disease", "evidence-inference")
SIDES = ("mtscale", "stock")


def measure(
    data_root: Path | None, seeds: Sequence[int] = SEEDS, examples: int = EXAMPLES, documents: int = DOCUMENTS
) -> Report:
    """The mean over seeds of the difference of the macro scores, and its range."""
    rows, macros = [], {}
    place = [] if data_root is None else [str(data_root)]
    for side in SIDES:
        for seed in seeds:
            arguments = (side, str(seed), str(examples), str(documents), *place)
            scores: dict[str, float] = run("benchmarks.dev_scores", *arguments)
            macros[side, seed] = statistics.fmean(scores.values())
            rows.append([side, str(seed), *(f"{score:.4f}" for score in scores.values()), f"{macros[side, seed]:.4f}"])
            tasks = list(scores)
    differences = [macros["mtscale", seed] - macros["stock", seed] for seed in seeds]
    spread = max(statistics.stdev(macros[side, seed] for seed in seeds) for side in SIDES) if len(seeds) > 1 else 0.0
    how = (
        f"macro dev score of mtscale less that of the stock Trainer in fp32, mean and range of {len(seeds)} seeds "
        f"(standard deviation of one side over seeds {spread:.4f}); {' and '.join(tasks)}, {examples} examples each, "
        f"one pass, {documents} dev documents"
    )
    result = Result(value=statistics.fmean(differences), low=min(differences), high=max(differences), unit="", how=how)
    return Report(
        {"dev_score_vs_stock": result},
        {f"Dev scores after {examples} examples of each task": table(["side", "seed", *tasks, "macro"], rows)},
    )


def few(data_root: Path | None, seed: int, examples: int, documents: int) -> Workload:
    """Two tasks of the workload with a seeded part of the training rows and of the dev documents."""
    work = workload.load(data_root)
    names = PUBLIC_TASKS if has_public_corpora(data_root) else SAMPLE_TASKS
    generator = np.random.default_rng(seed)
    splits: dict[str, dict[SplitName, EncodedSplit]] = {}
    for name in names:
        train, dev = work.splits[name]["train"], work.splits[name]["dev"]
        chosen = np.sort(generator.permutation(len(train.lengths))[:examples])
        # The dev documents are the same for all seeds.
        by_row = np.array(dev.rows["document"])
        kept = np.random.default_rng(0).permutation(np.unique(by_row))[:documents]
        splits[name] = {"train": _part(train, chosen), "dev": _part(dev, np.flatnonzero(np.isin(by_row, kept)))}
    tasks = tuple(task for task in work.tasks if task.name in names)
    return replace(work, tasks=tasks, splits=splits)


def _part(split: EncodedSplit, rows: Rows) -> EncodedSplit:
    chosen = split.rows.select(rows, keep_in_memory=True).flatten_indices(keep_in_memory=True)
    return replace(split, rows=chosen)


def train_mtscale(work: Workload, seed: int, folder: Path) -> Engine:
    """One pass with mtscale's steps, without its evaluation."""
    loop = workload.mtscale_loop(work, seed, folder, StopRequest())
    loop.engine.train()
    for number, entry in enumerate(loop.schedule.epoch(1)):
        encoded = work.splits[entry.task]["train"]
        batch = collate(encoded.rows, entry.rows, encoded.task.kind)
        terms = int(encoded.terms[entry.rows].sum())
        loop.engine.step(entry.task, [batch.to(loop.engine.device)], terms, number)
    return loop.engine


def train_stock(work: Workload, seed: int, folder: Path) -> Engine:
    """One pass with the stock Trainer; its weights in mtscale's model, so that one code scores both."""
    trainer = stock_trainer(work, seed, folder, bf16=False)
    trainer.train()
    model = cast(StockModel, trainer.model)
    model.encoder.save_pretrained(folder / "encoder")
    encoder = work.recipe.encoder.model_copy(update={"name": str(folder / "encoder")})
    trained = replace(work, recipe=work.recipe.model_copy(update={"encoder": encoder}))
    loop: Loop = workload.mtscale_loop(trained, seed, folder, StopRequest())
    for task in work.tasks:
        loop.model.head(task.name).output.load_state_dict(model.heads[f"{task.name}_head"].state_dict())
    return loop.engine


def dev_scores(work: Workload, engine: Engine) -> dict[str, float]:
    """The primary metric of each task on its dev documents."""
    scores = {}
    for task in work.tasks:
        split = work.splits[task.name]["dev"]
        predictions = predict(engine, split, 64, engine.ranks)
        documents = set(split.rows["document"])
        gold = {
            item.id: item.value
            for item in catalogue.iterate_gold(task, "dev", work.data_root)
            if item.document in documents
        }
        scores[task.name] = judge.score_against(task, cast(Gold, gold), predictions).values["score"]
    return scores


def main(side: str, seed: str, examples: str, documents: str, data_root: str | None = None) -> None:
    """Train and score one side with one seed."""
    work = few(None if data_root is None else Path(data_root), int(seed), int(examples), int(documents))
    with tempfile.TemporaryDirectory() as folder:
        train = train_mtscale if side == "mtscale" else train_stock
        print(json.dumps(dev_scores(work, train(work, int(seed), Path(folder)))))
    distributed.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
