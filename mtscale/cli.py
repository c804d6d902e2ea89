"""The command ``mtscale``: train, look at runs, look at this machine."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mtscale import __version__, corpora_commands, judge, names
from mtscale.corpora.example import SPLITS
from mtscale.errors import EXIT_FINISHED, ConfigError, MtscaleError
from mtscale.run_summary import RunSummary, history, summarize
from mtscale.runs import find_run, list_runs
from mtscale.training import doctor, job
from mtscale.training.console import log_to_console
from mtscale.training.tables import number, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    log_to_console(is_main=True)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except MtscaleError as error:
        logging.getLogger("mtscale").error("%s", error)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mtscale", description="Multi-task training of one BERT-type encoder for biomedical text mining."
    )
    parser.add_argument("--version", action="version", version=f"mtscale {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe (starts the deepspeed launcher)")
    job.add_options(train)
    train.add_argument("--num_gpus", type=int, metavar="N", help="ranks on this machine (default: one per GPU)")
    train.set_defaults(command=_train)

    runs = commands.add_parser("runs", help="list runs, show one").add_subparsers(required=True, metavar="COMMAND")
    listing = runs.add_parser("list", help="all runs, oldest first")
    listing.set_defaults(command=_list_runs)
    show = runs.add_parser("show", help="one run, with the scores of its tasks")
    show.add_argument("run", metavar="RUN", help="id, name or directory")
    show.set_defaults(command=_show_run)
    for command in (listing, show):
        command.add_argument(
            "--runs", type=Path, metavar="DIR", help="folder of the runs (default ./runs, or MTSCALE_RUNS)"
        )
        command.add_argument("--json", action="store_true", help="print JSON")

    corpora_commands.add_commands(commands)

    scoring = commands.add_parser("score", help="score stored predictions against the corpus' own gold")
    scoring.add_argument("--task", required=True, metavar="T", help="a shipped task, or one of the recipe's")
    scoring.add_argument("--recipe", metavar="NAME|FILE", help="where a task of your own is described")
    scoring.add_argument("--data", metavar="DIR", help="folder of the corpora (default: MTSCALE_DATA)")
    scoring.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    scoring.add_argument(
        "--predictions",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="predictions/SPLIT.TASK.jsonl of a run; for a task with folds, all folds' files are scored together",
    )
    scoring.add_argument("--json", action="store_true", help="print JSON, with the whole report")
    scoring.set_defaults(command=_score)

    machine = commands.add_parser("doctor", help="what this machine can do")
    machine.add_argument("--json", action="store_true", help="print JSON")
    machine.set_defaults(command=_doctor)
    return parser


def _train(options: argparse.Namespace) -> int:
    checked = job.check(options)
    try:
        from mtscale.training.launch import launch
    except ImportError as error:
        raise ConfigError(f"training needs more packages ({error.name}): pip install 'mtscale[train]'") from None
    return launch(checked, job.arguments(options), options.num_gpus)


def _list_runs(options: argparse.Namespace) -> int:
    root = job.runs_folder(options.runs)
    summaries = [summarize(run) for run in list_runs(root)]
    if options.json:
        print(json.dumps(summaries, indent=2))
    elif not summaries:
        print(f"no runs in {root}; `mtscale train` starts one")
    else:
        print("\n\n".join(_runs_tables(summaries)))
    return EXIT_FINISHED


def _runs_tables(summaries: Sequence[RunSummary]) -> Iterator[str]:
    """A table for each protocol: scores of a ``clean`` run and of one that chose on test are not comparable."""
    header = ["run", "state", "id", "recipe", "stage", "seed", "steps", "dev macro", "test macro"]
    for protocol in sorted({summary["protocol"] for summary in summaries}):
        rows = [_run_row(summary) for summary in summaries if summary["protocol"] == protocol]
        title = "" if names.chosen_on(protocol) == "dev" else f"protocol {protocol}, {names.OPTIMISTIC}\n"
        yield title + table(header, rows)


def _run_row(summary: RunSummary) -> list[str]:
    tests = [scores["test"] for scores in summary["scores"].values()]
    known = [score for score in tests if score is not None]
    return [
        Path(summary["dir"]).name,
        summary["state"],
        summary["id"],
        summary["recipe"],
        summary["stage"],
        str(summary["seed"]),
        f"{summary['step']}/{summary['steps']}",
        number(summary["macro"] if names.chosen_on(summary["protocol"]) == "dev" else None),
        number(sum(known) / len(known) if known and len(known) == len(tests) else None),
    ]


def _show_run(options: argparse.Namespace) -> int:
    run = find_run(job.runs_folder(options.runs), options.run)
    summary = summarize(run)
    if options.json:
        print(json.dumps({**summary, "history": history(run.events())}, indent=2))
        return EXIT_FINISHED
    protocol = summary["protocol"]
    if names.chosen_on(protocol) == "test":
        protocol += f" ({names.OPTIMISTIC})"
    facts = {
        "run": f"{run.path} ({summary['id']})",
        "state": summary["state"] + (f": {summary['message']}" if summary["message"] else ""),
        "recipe": f"{summary['recipe']}, {summary['stage']}, seed {summary['seed']}, protocol {protocol}",
        "steps": f"{summary['step']} of {summary['steps']}",
        "hardware": summary["ds_config"],
        "MLflow": summary["mlflow_run_id"] or "not mirrored",
    }
    print("\n".join(f"{name:<10}{value}" for name, value in facts.items()) + "\n")
    rows = [
        [
            task,
            "" if scores["best_epoch"] is None else str(scores["best_epoch"]),
            number(scores["dev"]),
            number(scores["test"]),
            number(scores["floor"]),
        ]
        for task, scores in summary["scores"].items()
    ]
    print(table(["task", "best epoch", "dev", "test", "floor"], rows))
    return EXIT_FINISHED


def _score(options: argparse.Namespace) -> int:
    task, data_root = job.task_of(options.task, options.recipe, options.data)
    score = judge.score_files(task, options.split, options.predictions, data_root)
    if options.json:
        print(json.dumps({"task": task.name, "values": score.values, "report": score.report}, indent=2))
        return EXIT_FINISHED
    rows = [[name, f"{value:.6f}"] for name, value in score.values.items() if name != names.SCORE]
    print(table(["metric", f"{task.name}, {options.split}"], rows))
    return EXIT_FINISHED


def _doctor(options: argparse.Namespace) -> int:
    found = doctor.report()
    print(json.dumps(found, indent=2) if options.json else doctor.render(found))
    return EXIT_FINISHED


if __name__ == "__main__":
    sys.exit(main())
