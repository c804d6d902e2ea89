"""What ``run.json`` says of a run at its start. Without torch: a queued run is written down before torch is loaded."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from mtscale.runs import RunProcess, RunRecord
from mtscale.training.job import Job, Member

PACKAGES = ("mtscale", "torch", "deepspeed", "transformers", "datasets")


def new_record(
    job: Job,
    member: Member,
    world_size: int,
    command: Sequence[str],
    processes: Sequence[RunProcess],
    data_hashes: Mapping[str, str] | None = None,
) -> RunRecord:
    """The record of a member of a job; a queued one has no ``data_hashes`` yet."""
    recipe_hash = job.recipe.hash()
    return RunRecord(
        name=member.name,
        family=job.family,
        group=f"{recipe_hash}-{member.stage}" + (f"-{member.tasks[0].name}" if member.stage == "finetune" else ""),
        recipe=job.recipe.name,
        stage=member.stage,
        task=member.tasks[0].name if member.stage == "finetune" else None,
        seed=member.seed,
        protocol=job.recipe.protocol,
        tasks=tuple(task.name for task in member.tasks),
        parent=member.parent,
        ds_config=job.ds_config_path.name,
        world_size=world_size,
        command=tuple(command),
        versions={name: version(name) for name in PACKAGES},
        git=_git_commit(),
        data_hashes=data_hashes or {},
        access=job.access(member),
        recipe_hash=recipe_hash,
        pid=os.getpid(),
        processes=tuple(processes),
    )


@cache
def _git_commit() -> str | None:
    """The commit of the checkout mtscale runs from, with a + if it has changes; None if it is no checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", here, "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")
