"""What a training command prints: its plan, its results, and where to look further."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtscale.durations import duration_text
from mtscale.training.loop import TaskResult
from mtscale.training.tables import table


def results_table(results: Sequence[TaskResult]) -> str:
    """Task, metric, scores, floor; and the plain means over tasks where there are several."""
    heads = list(results[0].scores)
    rows = [[one.task, one.metric, *(f"{one.scores[head]:.4f}" for head in heads)] for one in results]
    if len(results) > 1:
        means = [statistics.fmean(one.scores[head] for one in results) for head in heads]
        rows.append(["macro average", "", *(f"{mean:.4f}" for mean in means)])
    return table(["task", "metric", *heads], rows)


def where_to_look(folders: Sequence[Path], tracking_uri: str | None) -> str:
    """The run directories, and the command that opens the MLflow page."""
    lines = [f"run directory: {folder}" for folder in folders]
    if tracking_uri is not None:
        local = not tracking_uri.startswith("http")
        lines.append(
            f"compare runs:  {f'mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}' if local else tracking_uri}"
        )
    return "\n".join(lines)


def plan_text(plan: dict[str, Any]) -> str:
    """What ``--dry-run`` prints."""
    run_rows = [
        [
            run["run"],
            run["stage"],
            str(run["seed"]),
            f"{run['steps_per_epoch']} x {run['epochs']} = {run['steps']}",
            f"{run['batch_size']} = {run['world_size']} x {run['accumulation']} x {run['micro_batch']}",
            f"{run['precision']}, ZeRO {run['zero_stage']}",
            f"{run['memory_gib']:.1f} GiB",
            duration_text(run["seconds"]),
        ]
        for run in plan["runs"]
    ]
    runs = table(
        [
            "run",
            "stage",
            "seed",
            "steps",
            "batch = ranks x accum. x micro",
            "precision",
            "memory a rank (est.)",
            "time (est.)",
        ],
        run_rows,
    )
    task_rows = [
        [
            name,
            split,
            str(counts["examples"]),
            str(counts["rows"]),
            f"{counts['mean']:.1f}",
            str(counts["longest"]),
            str(counts["truncated_examples"]),
            str(counts["truncated_pieces"]),
            str(counts["arguments_cut_off"]),
            str(counts["sentences_cut"]),
            str(counts["rows_dropped"]),
            str(counts["mentions_cut"]),
            str(counts["mentions_off_word_bounds"] + counts["mentions_overlapped"]),
        ]
        for name, by_split in plan["tasks"].items()
        for split, counts in by_split.items()
    ]
    parts = [runs] if plan["text"] is None else [runs, _text_table(plan["text"])]
    header = ["task", "split", "examples", "inputs", "pieces", "longest", "truncated", "pieces cut", "arguments cut"]
    tasks = table([*header, "sentences cut", "dropped", "mentions cut", "mentions unfit"], task_rows)
    note = (
        "examples: sentences or pairs; inputs: what the encoder reads; pieces: mean word pieces of an input;\n"
        "sentences cut: into sub-sentences of at most 30 words; dropped: inputs too long to be trained on (protocol\n"
        "paper); mentions cut: by such a cut; mentions unfit: not on word boundaries, or overlapping another. Counts\n"
        "of mentions are not made on test, whose labels are sealed."
    )
    guess = "\ntime: a guess, since the estimate was tried on CPUs only" if plan["seconds_are_a_guess"] else ""
    if plan["tasks"]:
        parts += [tasks, note]
    return "\n\n".join(parts) + guess


def _text_table(text: dict[str, int]) -> str:
    """The text to pretrain on."""
    rows = [
        ["pretraining", part, *(str(text[prefix + what]) for what in ("documents", "rows", "pieces"))]
        for part, prefix in (("train", ""), ("held out", "heldout_"))
    ]
    return table(["text", "part", "documents", "inputs", "pieces"], rows) + f"\nshards: {text['shards']}"
