"""The commands ``mtscale runs``: list, show, end, resume and repair runs, bring MLflow up to date."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtscale import names, processes
from mtscale.errors import EXIT_FAILED, EXIT_FINISHED, ConfigError, MtscaleError
from mtscale.run_summary import RunSummary, history, perplexities, summarize
from mtscale.runs import LIVE, RunDirectory, State, find_run, list_runs
from mtscale.tracking.repair import repair
from mtscale.tracking.replay import replay
from mtscale.training import job
from mtscale.training.detach import detach
from mtscale.training.tables import number, table


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group ``runs`` with its commands."""
    group = commands.add_parser("runs", help="list runs, show, stop or resume one")
    runs = group.add_subparsers(required=True, metavar="COMMAND")

    listing = runs.add_parser("list", help="all runs, oldest first")
    listing.set_defaults(command=_list)
    show = runs.add_parser("show", help="one run, with the scores of its tasks")
    show.set_defaults(command=_show)
    for command in (listing, show):
        command.add_argument("--json", action="store_true", help="print JSON")

    comparison = _add_comparison(runs)
    stop = runs.add_parser("stop", help="ask a run to stop at its next step, with a checkpoint")
    harder = stop.add_mutually_exclusive_group()
    harder.add_argument(
        "--terminate", action="store_true", help="send SIGTERM to all of its processes, which asks for the same"
    )
    harder.add_argument(
        "--kill",
        action="store_true",
        help="send SIGKILL to all of them: what came after the last checkpoint is lost",
    )
    stop.set_defaults(command=_stop)
    resume = runs.add_parser("resume", help="go on with a run that was stopped or cut off, as its command began it")
    resume.set_defaults(command=_resume)
    resume.add_argument("--detach", action="store_true", help=job.DETACH_HELP)
    for command in (show, stop, resume):
        command.add_argument("run", metavar="RUN", help="id, name or directory")
    mend = runs.add_parser("repair", help="give runs that died without a word their final state, in MLflow too")
    mend.add_argument("run", nargs="+", metavar="RUN", help="id, name or directory")
    mend.set_defaults(command=_repair)
    sync = runs.add_parser("sync", help="show in MLflow what it lacks of runs that have ended")
    sync.add_argument("run", nargs="*", metavar="RUN", help="id, name or directory (default: all)")
    sync.set_defaults(command=_sync)
    for command in (listing, show, comparison, stop, resume, mend, sync):
        command.add_argument(
            "--runs", type=Path, metavar="DIR", help="folder of the runs (default ./runs, or MTSCALE_RUNS)"
        )


def _add_comparison(runs: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    comparison = runs.add_parser(
        "compare",
        help="what runs gain over a baseline, with intervals and p-values",
        description="Runs that differ only in their seed are one model. Each model is set against the baseline, task "
        "by task, by the stored predictions. Prints ids and numbers, never text.",
    )
    comparison.set_defaults(command=_compare)
    comparison.add_argument("run", nargs="+", metavar="RUN", help="id, name or directory")
    comparison.add_argument(
        "--baseline",
        nargs="+",
        metavar="RUN",
        help="one model, of one run or several a task (default: the first RUN's)",
    )
    comparison.add_argument("--split", choices=("dev", "test"), help="default: dev; of protocol 'paper', test")
    comparison.add_argument("--task", action="append", metavar="T", help="only this task; again for more")
    comparison.add_argument("--data", type=Path, metavar="DIR", help="folder of the corpora (default: the runs' own)")
    comparison.add_argument("--json", action="store_true", help="print JSON")
    return comparison


def _list(options: argparse.Namespace) -> int:
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


def _show(options: argparse.Namespace) -> int:
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
    if summary["stage"] == "pretrain":
        print(_perplexities(run))
        return EXIT_FINISHED
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


def _compare(options: argparse.Namespace) -> int:
    try:
        from mtscale.study import compare
    except ImportError as error:
        raise ConfigError(f"comparing needs more packages ({error.name}): pip install 'mtscale[train]'") from None
    return compare.run(options)


def _perplexities(run: RunDirectory) -> str:
    """Of a pretraining run: held-out perplexities at the start, last, of the kept encoder, of the unigram model."""
    row = ["held-out", "perplexity", *map(number, perplexities(run))]
    return table(["text", "metric", "at start", "last", "kept", "unigram"], [row])


def _stop(options: argparse.Namespace) -> int:
    run = find_run(job.runs_folder(options.runs), options.run)
    state = run.state()
    # Ranks may have outlived the one whose state is shown.
    if state not in LIVE and not (state is State.LOST and options.kill and processes.living(run)):
        raise ConfigError(f"{run.path} is {state}: only a live run can be stopped")
    if options.kill:
        return _kill(run)
    if options.terminate:
        asked = processes.terminate(run)
        print(f"{run.path}: SIGTERM sent to {processes.listed(asked)}; it ends with its next step and a checkpoint")
        return EXIT_FINISHED
    run.stop_file.touch(mode=0o600)
    print(f"{run.path}: asked to stop; it ends with its next step and a checkpoint, and `mtscale runs resume` goes on")
    return EXIT_FINISHED


def _kill(run: RunDirectory) -> int:
    before = processes.living(run)
    if left := processes.kill(run):
        raise MtscaleError(f"{run.path}: still alive after SIGKILL: {processes.listed(left)}")
    print(f"{run.path}: killed {processes.listed(before)}; `mtscale runs resume` goes on from its last checkpoint")
    if run.state() is State.LOST:
        _tell_mirror(run, repair(run, State.STOPPED, "killed on request"))
    return EXIT_FINISHED


def _repair(options: argparse.Namespace) -> int:
    root = job.runs_folder(options.runs)
    for run in [find_run(root, wanted) for wanted in options.run]:
        complete = repair(run)
        print(f"{run.path.name}: {run.state()}; {run.status.message}")
        _tell_mirror(run, complete)
    return EXIT_FINISHED


def _tell_mirror(run: RunDirectory, complete: bool) -> None:
    """What has not arrived in MLflow is no failure: the run directory has it."""
    if not complete:
        print(f"{run.path.name}: MLflow does not have it yet; `mtscale runs sync` tries again")


def _resume(options: argparse.Namespace) -> int:
    """Give the run's own command again, from the directory and for as many ranks as it was given."""
    run = find_run(job.runs_folder(options.runs), options.run)
    state, record = run.state(), run.record
    if state in LIVE or state is State.FINISHED:
        raise ConfigError(f"{run.path} is {state}: only a run that was stopped, failed or lost can be resumed")
    if alive := processes.living(run) if state is State.LOST else []:
        raise ConfigError(f"{run.path}: {processes.listed(alive)} still alive; `mtscale runs stop --kill` ends them")
    runs = run.path.parent.resolve()
    if options.detach:
        pid = detach(["runs", "resume", str(run.path.resolve())], run.path.resolve())
        print(f"{run.path}: goes on without this terminal, process {pid}")
        return EXIT_FINISHED
    try:
        os.chdir(record.directory)
    except OSError as error:
        raise ConfigError(
            f"{run.path} was started in {record.directory}, which cannot be entered: {error.strerror}; "
            f"give its command again with --run {record.family}"
        ) from None
    parser = argparse.ArgumentParser(prog="mtscale runs resume")
    job.add_options(parser)
    again = parser.parse_args([*record.command[1:], "--run", record.family, "--runs", str(runs)])
    return job.launch(job.check(again), job.arguments(again), record.world_size)


def _sync(options: argparse.Namespace) -> int:
    root = job.runs_folder(options.runs)
    chosen = [find_run(root, wanted) for wanted in options.run] or list_runs(root)
    code = EXIT_FINISHED
    for run in chosen:
        if run.state() in LIVE:
            print(f"{run.path.name}: {run.state()}, its own process mirrors it")
        elif replay(run):
            print(f"{run.path.name}: in MLflow as {run.record.mlflow_run_id}")
        else:
            print(f"{run.path.name}: not all of it is in MLflow")
            code = EXIT_FAILED
    return code
