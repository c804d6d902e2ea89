"""A study as job arrays for SLURM: encoders that must be made first, what needs them, and everything else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from math import ceil

from mtscale.study.plan import Plan
from mtscale.study.store import StudyFolder

# Estimates are rough, and a job that is cut off is taken up where it stood when the array is sent again.
TIME_FACTOR = 3.0
LEAST_MINUTES = 30


def job_arrays(plan: Plan, seconds: Mapping[str, float], folder: StudyFolder, python: str, words: Sequence[str]) -> str:
    """A shell script that sends the arrays: one job a unit that is not finished, on one GPU each.

    ``words`` are the options of ``mtscale study run`` that find the study.
    """
    numbered = [(number, unit) for number, unit in enumerate(plan.units, 1) if folder.state_of(unit) != "finished"]
    first = [(number, unit) for number, unit in numbered if unit.kind == "pretrain"]
    made = {unit.name for _, unit in first}
    after = [(number, unit) for number, unit in numbered if made.intersection(unit.needs)]
    rest = [one for one in numbered if one not in first and one not in after]
    command = " ".join(map(shlex.quote, [python, "-m", "mtscale.cli", "study", "run", *words]))
    lines = [
        "#!/bin/sh",
        f"# The study {folder.name}: {len(numbered)} units that are not finished. Run this script where sbatch is.",
        "# Everything must lie on a filesystem that the nodes share. Add your account and partition to OPTIONS.",
        "set -eu",
        'OPTIONS="--gres=gpu:1 --cpus-per-task=4 --mem=32G ${SBATCH_OPTIONS:-}"',
        f"LOGS={shlex.quote(str(folder.path))}/slurm-%A-%a.log",
        f"COMMAND={shlex.quote(command)}",
    ]
    # With afterok one pretraining that fails would leave all that waits pending for ever. With afterany a unit whose
    # encoder is missing is refused, and the others are trained.
    dependency = "--dependency=afterany:$FIRST "
    for name, units, options in (("FIRST", first, ""), ("AFTER", after, dependency), ("REST", rest, "")):
        if not units:
            continue
        minutes = max(LEAST_MINUTES, ceil(TIME_FACTOR * max(seconds[unit.name] for _, unit in units) / 60))
        array = ",".join(str(number) for number, _ in units)
        lines.append(
            f'{name}=$(sbatch --parsable $OPTIONS {options}--time={minutes} --array={array} --output="$LOGS" '
            '--wrap="$COMMAND --unit \\$SLURM_ARRAY_TASK_ID")'
        )
        lines.append(f'echo "{name.lower()}: job $%s"' % name)
    return "\n".join(lines) + "\n"
