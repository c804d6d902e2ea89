"""What a command asks for, checked as far as possible without torch: a refusal comes within a second or two.

Holds the options of ``mtscale/train.py`` and ``mtscale train``, which are the same.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale import ds_config, ds_rules, encoders, processes, recipe, recipe_errors
from mtscale.corpora import catalogue, inventory
from mtscale.ds_config import JsonObject, Machine, ResolvedDsConfig
from mtscale.errors import ConfigError
from mtscale.names import RUN_NAME
from mtscale.offline import keep_off_hubs
from mtscale.pretraining.sources import TextFiles, find_files
from mtscale.recipe import Recipe, StageName
from mtscale.runs import LIVE, RunDirectory, State
from mtscale.tasks import TASKS, Access, Task
from mtscale.training.machine import probe

DETACH_HELP = "go on without this terminal; what is printed goes to output.log in the run directory"

_NEEDED = ("torch", "deepspeed", "transformers", "datasets", "psutil")


@dataclass(frozen=True)
class Member:
    """One run of a family: its directory's name, stage and seed; a pretraining run has no tasks, a finetune run one.

    The encoder of the ``parent``, a run of the family, is where it starts.
    """

    name: str
    stage: StageName
    seed: int
    tasks: tuple[Task, ...]
    parent: str | None


@dataclass(frozen=True)
class Job:
    """A checked command: the recipe's runs on this machine."""

    recipe: Recipe
    recipe_path: Path
    tasks: tuple[Task, ...]
    ds_config: JsonObject
    ds_config_path: Path
    machine: Machine
    data_root: Path | None
    text: TextFiles | None
    runs: Path
    family: str
    members: tuple[Member, ...]
    dry_run: bool
    as_json: bool

    def resolved(self, stage: StageName, world_size: int) -> ResolvedDsConfig:
        """The DeepSpeed JSON completed for a stage."""
        settings = self.recipe.pretrain if stage == "pretrain" else self.recipe.settings(stage)
        return ds_config.resolve(
            self.ds_config,
            batch_size=settings.batch_size,
            clip=settings.clip,
            world_size=world_size,
            machine=self.machine,
        )

    def access(self, member: Member) -> str:
        """``dua`` where a run's data, or those that its encoder was made from, lie under a use agreement."""
        own = [task.access.value for task in member.tasks]
        if member.stage == "pretrain":
            own.append(self.recipe.pretrain.access)
        if member.parent is not None:
            own += [self.access(parent) for parent in self.members if parent.name == member.parent]
        elif not (member.stage == "pretrain" and self.recipe.pretrain.start == "scratch"):
            own += [Access.DUA.value] if encoders.is_marked(self.recipe.encoder.name) else []
        return Access.DUA.value if Access.DUA.value in own else Access.OPEN.value


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a training command."""
    parser.add_argument("--recipe", default="sample", metavar="NAME|FILE", help="a shipped recipe or a TOML file")
    parser.add_argument(
        "--ds_config", metavar="NAME|FILE", help="a DeepSpeed JSON (default: the shipped one that fits this machine)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=VALUE", help="replace a setting of the recipe; VALUE is TOML"
    )
    parser.add_argument("--seed", type=seeds, metavar="N[,N]", help="seeds, instead of the recipe's")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the corpora (or MTSCALE_DATA)")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="DIR",
        help="where files of your own lie that the recipe names (default: beside it)",
    )
    parser.add_argument("--runs", type=Path, metavar="DIR", help="folder of the runs (default ./runs, or MTSCALE_RUNS)")
    parser.add_argument(
        "--run", metavar="NAME", help="name of the run's directory; a stopped or cut-off run of that name goes on"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print steps, counts, truncation and memory; train nothing"
    )
    parser.add_argument("--json", action="store_true", help="with --dry-run or --detach: print JSON")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # given by the launcher, read from LOCAL_RANK


def runs_folder(given: Path | None) -> Path:
    """The folder of the runs: the option, MTSCALE_RUNS, or ./runs."""
    return (given or Path(os.environ.get("MTSCALE_RUNS", "runs"))).expanduser()


def arguments(options: argparse.Namespace) -> list[str]:
    """The options as a command line again, for the process that trains; ``--run`` is left to the caller."""
    given = {
        "--recipe": options.recipe,
        "--ds_config": options.ds_config,
        "--data": options.data,
        "--beside": options.beside,
        "--runs": options.runs,
    }
    words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    words += [word for override in options.set for word in ("--set", override)]
    if options.seed is not None:
        words += ["--seed", ",".join(map(str, options.seed))]
    return words + [name for name, on in (("--dry-run", options.dry_run), ("--json", options.json)) if on]


def launch(job: Job, words: Sequence[str], num_gpus: int | None) -> int:
    """Run a checked job in processes of its own; returns the exit code.

    ``words`` are the options of ``mtscale/train.py`` but ``--run``, ``num_gpus`` its ranks on this machine (default:
    one for each GPU).

    Raises:
        ConfigError: the packages for training are not installed.
    """
    require_packages()
    from mtscale.training.launch import launch as start

    return start(job, words, num_gpus)


def require_packages() -> None:
    """Refuse to train where the packages for it are not installed; nothing is loaded.

    Raises:
        ConfigError: names those that are missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs more packages ({', '.join(missing)}): pip install 'mtscale[train]'")


def task_of(name: str, recipe_name: str | None, data: str | None) -> tuple[Task, Path | None]:
    """A shipped task, or one of a recipe, and the data root it is read under.

    Raises:
        ConfigError: there is no such task, or the recipe cannot be read.
    """
    if recipe_name is None:
        if name not in TASKS:
            raise ConfigError(
                f"no shipped task {name!r}{recipe_errors.nearest(name, TASKS)}; "
                "a task of your own needs --recipe, the file that describes it"
            )
        return TASKS[name], catalogue.data_folder(data, None)
    path = recipe.find(recipe_name)
    loaded = recipe.load(path, [])
    data_root = catalogue.data_folder(data, loaded.data_root)
    for table in loaded.tasks:
        if table.name == name:
            return table.resolve(data_root, path.parent), data_root
    raise ConfigError(f"{path}: no task {name!r}{recipe_errors.nearest(name, [table.name for table in loaded.tasks])}")


def check(options: argparse.Namespace) -> Job:
    """Check a command against recipe, machine, data and existing runs.

    Raises:
        ConfigError: recipe, DeepSpeed JSON, machine or run name do not allow the run.
        DataError: corpora are missing; all of them are named.
    """
    path = recipe.find(options.recipe)
    overrides = list(options.set)
    if options.seed is not None:
        overrides.append(f"seeds={options.seed}")
    loaded = recipe.load(path, overrides)
    machine = probe()
    config_path = ds_config.find(options.ds_config or ds_config.shipped_for(machine))
    config = ds_config.load(config_path)
    problems = ds_rules.check(config, path=config_path, machine=machine)
    if problems:
        raise ConfigError("\n".join(problems))
    data_root = catalogue.data_folder(options.data, loaded.data_root)
    tables = loaded.tasks if loaded.stages != ("pretrain",) else ()
    beside = options.beside or path.parent
    tasks = tuple(table.resolve(data_root, beside) for table in tables)
    sealed_text = "pretrain" in loaded.stages and loaded.pretrain.access == Access.DUA.value
    keep_off_hubs(tasks, sealed=sealed_text or encoders.is_marked(loaded.encoder.name))
    inventory.require(tasks, data_root)
    text = find_files(loaded.pretrain, data_root, beside) if "pretrain" in loaded.stages else None
    runs = runs_folder(options.runs)
    family = options.run or f"{loaded.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not RUN_NAME.fullmatch(family):
        raise ConfigError(f"--run {family!r}: a run's name has letters, digits and . _ - + only")
    job = Job(
        recipe=loaded,
        recipe_path=path,
        tasks=tasks,
        ds_config=config,
        ds_config_path=config_path,
        machine=machine,
        data_root=data_root,
        text=text,
        runs=runs,
        family=family,
        members=_members(loaded, tasks, family),
        dry_run=options.dry_run,
        as_json=options.json,
    )
    for stage in loaded.stages:
        job.resolved(stage, int(os.environ.get("WORLD_SIZE", "1")))
    if not job.dry_run:
        _check_runs(job)
    return job


def _members(loaded: Recipe, tasks: tuple[Task, ...], family: str) -> tuple[Member, ...]:
    """The runs of a family in the order in which they are trained. A family of one run bears the family's name."""
    members = []
    for seed in loaded.seeds:
        base = family if len(loaded.seeds) == 1 else f"{family}-seed{seed}"
        parent = None
        if "pretrain" in loaded.stages:
            name = base if loaded.stages == ("pretrain",) else f"{base}-pretrain"
            members.append(Member(name, "pretrain", seed, (), None))
            parent = name
        if "refine" in loaded.stages:
            members.append(Member(base, "refine", seed, tasks, parent))
            parent = base
        if "finetune" in loaded.stages:
            members += [Member(f"{base}-finetune-{task.name}", "finetune", seed, (task,), parent) for task in tasks]
    return tuple(members)


def _check_runs(job: Job) -> None:
    """Refuse a family with a live run, or one that is finished as a whole."""
    finished = 0
    for member in job.members:
        run = RunDirectory(job.runs / member.name)
        if not (run.path / "run.json").exists():
            if run.path.exists():
                raise ConfigError(f"{run.path} exists and is no run: choose another --run name")
            continue
        state, record = run.state(), run.record
        if state is State.QUEUED and processes.is_queued_for_this_process(record):
            continue
        if state in LIVE:
            raise ConfigError(f"{run.path} is {state}: choose another --run name, or wait, or stop it")
        if record.started and record.recipe_hash != job.recipe.hash():
            raise ConfigError(f"{run.path} was started with another recipe: choose another --run name")
        finished += state is State.FINISHED
    if finished == len(job.members):
        raise ConfigError(f"{job.runs / job.family} is finished: choose another --run name")


def seeds(text: str) -> list[int]:
    """The value of ``--seed``."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers separated by commas, found {text!r}") from None
