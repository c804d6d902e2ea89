"""The command ``mtscale``: train, look at runs, look at this machine."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mtscale import (
    __version__,
    analysis_commands,
    corpora_commands,
    judge,
    model_commands,
    names,
    names_command,
    privacy_commands,
    runs_commands,
    study_commands,
)
from mtscale.corpora.example import SPLITS
from mtscale.errors import EXIT_FINISHED, MtscaleError
from mtscale.runs import is_finished
from mtscale.training import doctor, job
from mtscale.training.console import log_to_console
from mtscale.training.detach import detach
from mtscale.training.tables import table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. What it writes is for its owner alone, whatever the umask."""
    options = _parser().parse_args(arguments)
    log_to_console(is_main=True)
    command: Callable[[argparse.Namespace], int] = options.command
    before = os.umask(0o077)
    try:
        return command(options)
    except MtscaleError as error:
        logging.getLogger("mtscale").error("%s", error)
        return error.exit_code
    finally:
        os.umask(before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mtscale", description="Multi-task training of one BERT-type encoder for biomedical text mining."
    )
    parser.add_argument("--version", action="version", version=f"mtscale {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe (starts the deepspeed launcher)")
    job.add_options(train)
    train.add_argument("--num_gpus", type=int, metavar="N", help="ranks on this machine (default: one per GPU)")
    train.add_argument("--detach", action="store_true", help=job.DETACH_HELP)
    train.set_defaults(command=_train)

    runs_commands.add_commands(commands)
    corpora_commands.add_commands(commands)
    study_commands.add_commands(commands)
    model_commands.add_commands(commands)
    analysis_commands.add_commands(commands)
    privacy_commands.add_commands(commands)
    names_command.add_commands(commands)

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
    if not options.detach or checked.dry_run:
        return job.launch(checked, job.arguments(options), options.num_gpus)
    words = ["train", *(word for word in job.arguments(options) if word != "--json"), "--run", checked.family]
    words += [] if options.num_gpus is None else ["--num_gpus", str(options.num_gpus)]
    folders = [checked.runs / member.name for member in checked.members]
    # A family may be finished in part; one that is so as a whole has been refused.
    pid = detach(words, next(folder for folder in folders if not is_finished(folder)))
    if options.json:
        print(json.dumps({"pid": pid, "runs": list(map(str, folders))}))
    else:
        print("\n".join([*map(str, folders), f"goes on without this terminal, process {pid}; `mtscale-tui` shows it"]))
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
