"""The commands ``mtscale study``: plan, run, status, report, and a job array for a cluster."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtscale import ds_config
from mtscale.corpora import catalogue, inventory
from mtscale.ds_config import Machine
from mtscale.durations import duration_text
from mtscale.errors import EXIT_FINISHED, ConfigError
from mtscale.offline import keep_off_hubs
from mtscale.study import plan as planning
from mtscale.study import spec
from mtscale.study.detach import detach
from mtscale.study.plan import Plan, Size, Unit, size_text
from mtscale.study.spec import Study
from mtscale.study.store import Outcome, StudyFolder
from mtscale.training import job
from mtscale.training.machine import probe
from mtscale.training.tables import table

# The options that say how much is trained, and that a plan is made with once and for all.
SIZES = ("budget", "documents", "epochs", "finetune_epochs")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group ``study`` with its commands."""
    group = commands.add_parser("study", help="many runs, and the tables and the graph made of them")
    studies = group.add_subparsers(required=True, metavar="COMMAND")
    made: dict[str, argparse.ArgumentParser] = {}
    for name, command, about in (
        ("list", _list, "the shipped studies"),
        ("plan", _plan, "every run of a study, with its time, disk and what it needs before"),
        ("run", _run, "train what is not finished, several runs at once"),
        ("status", _status, "where each run stands"),
        ("report", _report, "write tables, graph and statistics of what is finished"),
        ("script", _script, "write the study as job arrays for SLURM"),
    ):
        made[name] = studies.add_parser(name, help=about)
        made[name].set_defaults(command=command)
    for name in ("plan", "run", "status", "report", "script"):
        _add_common(made[name])
    for name in ("plan", "run"):
        _add_planning(made[name])
    made["plan"].add_argument("--again", action="store_true", help="plan anew, though there is a plan")
    way = made["run"].add_mutually_exclusive_group()
    way.add_argument("--unit", type=int, metavar="N", help="train the N-th line of the plan alone, in a job array")
    way.add_argument("--detach", action="store_true", help="go on without this terminal")
    for name in ("plan", "status"):
        made[name].add_argument("--json", action="store_true", help="print JSON")
    made["report"].add_argument("--out", type=Path, metavar="DIR", help="default: the study's folder")
    made["script"].add_argument("--out", type=Path, metavar="FILE", help="default: standard output")


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", metavar="NAME|FILE", help="a shipped study (`mtscale study list`) or a TOML file")
    command.add_argument("--only", action="append", default=[], metavar="PART", help="this table or figure alone")
    command.add_argument(
        "--runs", type=Path, metavar="DIR", help="folder of the runs (default ./runs, or MTSCALE_RUNS)"
    )
    command.add_argument("--data", metavar="DIR", help="folder of the corpora (default: MTSCALE_DATA)")


def _add_planning(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seeds", type=job.seeds, metavar="N[,N]", help="instead of the study's")
    command.add_argument("--budget", type=float, metavar="MINUTES", help="reduce documents, then epochs, to this time")
    command.add_argument("--documents", type=int, metavar="N", help="at most so many training documents a task")
    command.add_argument("--epochs", type=int, metavar="N", help="epochs of refine, instead of the study's")
    command.add_argument("--finetune-epochs", type=int, metavar="N", help="epochs of finetune, instead of the study's")
    command.add_argument("--ds_config", metavar="NAME|FILE", help="a DeepSpeed JSON (default: what fits this machine)")
    command.add_argument("--workers", type=int, metavar="N", help="runs at once (default: one a GPU, or one a core)")


def _open(options: argparse.Namespace) -> tuple[Path, Study, StudyFolder]:
    """The file of the study, what is wanted of it, and its folder under the runs."""
    path, study = spec.find(options.study, options.only)
    seeds = getattr(options, "seeds", None)
    name = study.name if Path(options.study).is_file() else options.study
    folder = StudyFolder(job.runs_folder(options.runs).absolute(), "+".join([name, *options.only]))
    if seeds:
        study = study.model_copy(update={"seeds": tuple(seeds)})
    return path, study, folder


def _data_root(options: argparse.Namespace) -> Path | None:
    return catalogue.data_folder(options.data, None)


def _list(_options: argparse.Namespace) -> int:
    rows = []
    for name, (path, part) in spec.shipped().items():
        study = spec.load(path)
        about = study.title if part is None else _title(study, part)
        rows.append([name, about])
    print(table(["study", "what it holds"], rows))
    return EXIT_FINISHED


def _title(study: Study, part: str) -> str:
    if part == spec.CORPORA:
        return study.corpora
    if part == spec.FIGURE and study.figure is not None:
        return study.figure.title
    return study.tables[part].title


def _planned(options: argparse.Namespace, *, again: bool = False) -> tuple[Plan, dict[str, float], StudyFolder]:
    """The plan that was made already, or one made now.

    Raises:
        ConfigError, DataError: the study is not valid, has changed, or its corpora are not all there.
    """
    path, study, folder = _open(options)
    study.require_seeds()
    data_root = _data_root(options)
    tasks = [one.resolve(data_root, path.parent) for one in study.tasks]
    keep_off_hubs(tasks)
    used = {name for part in study.tables.values() for name in study.tasks_of(part.tasks)}
    used |= {name for domain in study.figure.encoders for name in study.tasks_of(domain)} if study.figure else set()
    inventory.require([task for task in tasks if task.name in used], data_root)
    if folder.is_planned and not again:
        folder.require_same(study)
        folder.require_sizes(_given(options, SIZES))
        return *folder.load(), folder
    with folder.locked():
        plan, seconds = _make(options, study, path.parent, folder, data_root)
        folder.save(plan, path.parent, seconds, command=_planned_by(options), machine=_machine_text(probe()))
    return plan, seconds, folder


def _make(
    options: argparse.Namespace, study: Study, beside: Path, folder: StudyFolder, data_root: Path | None
) -> tuple[Plan, dict[str, float]]:
    job.require_packages()
    machine = probe()
    if machine.accelerator == "cpu":
        # Unasked, DeepSpeed looks itself and says on standard output, where a plan may go, that it has found no GPU.
        os.environ["DS_ACCELERATOR"] = "cpu"
    # The first use of torch: a refusal above comes at once.
    from mtscale.study.estimates import Estimator

    config = ds_config.load(ds_config.find(options.ds_config or ds_config.shipped_for(machine)))
    estimator = Estimator(study, beside, folder.runs, data_root, machine, config)
    workers = options.workers or machine.gpu_count or len(os.sched_getaffinity(0))
    given = Size(options.epochs, options.finetune_epochs, options.documents)
    if options.budget and given != Size():
        raise ConfigError("--budget chooses documents and epochs itself: give it without sizes, or sizes without it")
    budget = options.budget or study.budget_minutes
    if budget is not None and given == Size():
        plan, estimate = estimator.fit(60 * budget, workers)
    else:
        plan, estimate = estimator.plan(given, workers)
    return plan, {**estimate.seconds, "": estimate.total, "disk": estimate.disk}


def _plan(options: argparse.Namespace) -> int:
    plan, seconds, folder = _planned(options, again=options.again)
    folder.keep_command(_again(options))
    if options.json:
        print(json.dumps(_as_json(plan, seconds, folder), indent=2))
        return EXIT_FINISHED
    rows = [
        [
            str(number),
            unit.name,
            folder.state_of(unit),
            duration_text(seconds[unit.name]),
            str(len(unit.runs)),
            ", ".join(unit.needs) or "-",
        ]
        for number, unit in enumerate(plan.units, start=1)
    ]
    print(table(["", "unit", "state", "time (est.)", "runs", "after"], rows))
    print(
        f"\n{size_text(plan)}\n{sum(len(unit.runs) for unit in plan.units)} runs in {len(plan.units)} units, "
        f"about {duration_text(seconds[''])} and {seconds['disk'] / 2**30:.1f} GiB; planned in {folder.path}"
    )
    return EXIT_FINISHED


def _took(folder: StudyFolder) -> Mapping[str, float]:
    """The seconds of each unit in all attempts that are written down."""
    total: dict[str, float] = defaultdict(float)
    for _, one in folder.attempts():
        total[one.unit] += one.seconds
    return total


def _as_json(plan: Plan, seconds: dict[str, float], folder: StudyFolder) -> dict[str, object]:
    outcomes, took = folder.outcomes(), _took(folder)
    units = []
    for unit in plan.units:
        ended = outcomes.get(unit.name)
        units.append(
            {
                "unit": unit.name,
                "kind": unit.kind,
                "encoder": unit.encoder,
                "tasks": unit.tasks,
                "seed": unit.seed,
                "protocol": unit.recipe.protocol,
                "runs": [str(folder.runs / name) for name in unit.runs],
                "needs": unit.needs,
                "state": folder.state_of(unit),
                "seconds": seconds[unit.name],
                "took": took[unit.name] if ended and ended.code == EXIT_FINISHED else None,
                "message": ended.message if ended else "",
            }
        )
    return {
        "study": folder.name,
        "folder": str(folder.path),
        "protocol": plan.study.protocol,
        "seeds": plan.study.seeds,
        "documents": plan.size.documents,
        "seconds": seconds[""],
        "bytes": seconds["disk"],
        "units": units,
    }


def _run(options: argparse.Namespace) -> int:
    if options.detach:
        job.require_packages()
    plan, seconds, folder = _planned(options)
    if options.unit is None:
        folder.keep_command(_again(options))
    if options.detach:
        pid = detach(_again(options), folder)
        print(f"{folder.path}: goes on without this terminal, process {pid}; `kill {pid}` ends it with checkpoints")
        return EXIT_FINISHED
    from mtscale.study.execute import Execution, slots

    given = (("--data", options.data), ("--ds_config", options.ds_config))
    words = [word for name, value in given if value is not None for word in (name, str(value))]
    gpus = probe().gpu_count
    if options.unit is not None:
        if not 1 <= options.unit <= len(plan.units):
            raise ConfigError(f"--unit {options.unit}: the plan has lines 1 to {len(plan.units)}")
        units = plan.units[options.unit - 1 : options.unit]
        return Execution(
            folder, plan, units, slots(gpus, 1, folder.path), words, _Progress(units, seconds, folder)
        ).run()
    with folder.locked():
        places = slots(gpus, options.workers, folder.path)
        progress = _Progress(plan.units, seconds, folder)
        code = Execution(folder, plan, plan.units, places, words, progress).run()
    print(progress.summary(), file=sys.stderr)
    return code


class _Progress:
    """A line for each unit that has ended, with what is left."""

    def __init__(self, units: Sequence[Unit], seconds: dict[str, float], folder: StudyFolder) -> None:
        self._seconds, self._folder, self._units = seconds, folder, units
        self._left = {unit.name for unit in units if folder.state_of(unit) != "finished"}
        self._of = len(self._left)
        self._began = time.monotonic()
        self._done = 0.0
        print(f"{self._of} of {len(units)} units to train, {len(units) - self._of} finished already", file=sys.stderr)

    def __call__(self, unit: Unit, outcome: Outcome) -> None:
        self._left.discard(unit.name)
        self._done += self._seconds[unit.name]
        place = f"[{self._of - len(self._left)}/{self._of}]"
        how = f"finished in {duration_text(outcome.seconds)}" if outcome.code == EXIT_FINISHED else outcome.message
        print(f"{place} {unit.name}: {how or 'stopped'}{self._rest()}", file=sys.stderr, flush=True)

    def _rest(self) -> str:
        """What is left, by the estimates and how far they have been off until now."""
        if not self._left or not self._done:
            return ""
        rest = sum(self._seconds[name] for name in self._left) * (time.monotonic() - self._began) / self._done
        return f"; about {duration_text(rest)} left"

    def summary(self) -> str:
        """How the units stand."""
        counted = Counter(self._folder.state_of(unit) for unit in self._units)
        return ", ".join(f"{count} {state}" for state, count in counted.most_common())


def _status(options: argparse.Namespace) -> int:
    _, _, folder = _open(options)
    plan, seconds = folder.load()
    if options.json:
        print(json.dumps(_as_json(plan, seconds, folder), indent=2))
        return EXIT_FINISHED
    outcomes, spent = folder.outcomes(), _took(folder)
    rows = []
    for unit in plan.units:
        state, ended = folder.state_of(unit), outcomes.get(unit.name)
        took = duration_text(spent[unit.name]) if ended and ended.code == EXIT_FINISHED else "-"
        why = ended.message.splitlines()[0] if ended and ended.message and state in {"failed", "stopped"} else ""
        rows.append([unit.name, state, duration_text(seconds[unit.name]), took, why])
    print(table(["unit", "state", "est.", "took", ""], rows))
    counted = Counter(row[1] for row in rows)
    print(f"\n{', '.join(f'{count} {state}' for state, count in counted.most_common())}; {size_text(plan)}")
    return EXIT_FINISHED


def _report(options: argparse.Namespace) -> int:
    path, study, folder = _open(options)
    plan, _ = folder.load()
    from mtscale.study import report

    out = options.out or folder.path / "report"
    written = report.write(_as_now(plan, study, path, folder), folder, out, path.parent, _data_root(options))
    print("\n".join(map(str, written)))
    return EXIT_FINISHED


def _as_now(plan: Plan, study: Study, path: Path, folder: StudyFolder) -> Plan:
    """The plan with titles and tables as the study file has them now, if it still asks for the same runs."""
    now = planning.make(study.model_copy(update={"seeds": plan.study.seeds}), path.parent, folder.runs, plan.size)
    same = {unit.runs for unit in now.units} == {unit.runs for unit in plan.units}
    return now if same else plan


def _planned_by(options: argparse.Namespace) -> list[str]:
    """The options that decide what is trained, for whoever makes the study again: not where things lie here."""
    words = [str(options.study), *(word for part in options.only for word in ("--only", part))]
    words += ["--seeds", ",".join(map(str, options.seeds))] if options.seeds else []
    given = _given(options, (*SIZES, "workers", "ds_config"))
    return words + [word for pair in given.items() for word in pair]


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, str]:
    """Which of the options were given, with their values, as words."""
    words = {}
    for name in names:
        if (value := getattr(options, name)) is not None:
            flag = name if name == "ds_config" else name.replace("_", "-")
            words[f"--{flag}"] = f"{value:g}" if isinstance(value, float) else str(value)
    return words


def _machine_text(machine: Machine) -> str:
    """What a plan's time was estimated for."""
    if machine.accelerator == "cuda":
        return f"{machine.gpu_count} x {machine.device_name}"
    cores = len(os.sched_getaffinity(0))
    return f"{machine.device_name}, {cores} core{'s' if cores != 1 else ''}"


def _script(options: argparse.Namespace) -> int:
    _, _, folder = _open(options)
    plan, seconds = folder.load()
    from mtscale.study.slurm import job_arrays

    text = job_arrays(plan, seconds, folder, sys.executable, folder.command())
    if options.out is None:
        print(text, end="")
    else:
        options.out.write_text(text, encoding="utf-8")
    return EXIT_FINISHED


def _again(options: argparse.Namespace) -> list[str]:
    """The options by which another process goes on with the study."""
    words = list(_words(options))
    if options.seeds:
        words += ["--seeds", ",".join(map(str, options.seeds))]
    if options.ds_config is not None:
        path = Path(options.ds_config)
        words += ["--ds_config", str(path.resolve()) if path.is_file() else options.ds_config]
    return words if options.workers is None else [*words, "--workers", str(options.workers)]


def _words(options: argparse.Namespace) -> Sequence[str]:
    """The options by which another process finds the study."""
    words = [str(Path(options.study).resolve()) if Path(options.study).is_file() else options.study]
    words += [word for part in options.only for word in ("--only", part)]
    words += ["--runs", str(job.runs_folder(options.runs).absolute())]
    return words if options.data is None else [*words, "--data", str(Path(options.data).absolute())]
