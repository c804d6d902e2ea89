"""What ``mtscale train --dry-run`` and ``mtscale corpora check`` found out, in a few lines."""

from __future__ import annotations

import json

from mtscale.durations import duration_text

from .cells import plain

MOST_FINDINGS = 8
_SEVERITIES = ("error", "warning", "note")


def plan_text(output: str) -> tuple[str, str]:
    """What matters most of a plan, and the rest of it."""
    plan = json.loads(output)
    first = plan["runs"][0]
    memory = max(run["memory_gib"] for run in plan["runs"])
    guess = ", a guess on this machine" if plan["seconds_are_a_guess"] else ""
    batch = f"{first['world_size']} x {first['accumulation']} x {first['micro_batch']}"
    head = [
        "Machine, DeepSpeed JSON and corpora allow it.",
        f"time about {duration_text(plan['seconds'])}{guess}; memory of a rank about {memory:.1f} GiB",
        f"{first['precision']}, ZeRO {first['zero_stage']}, "
        f"batch {first['batch_size']} = ranks x accumulation x micro-batch = {batch}",
    ]
    runs = [
        f"{plain(run['run'])}: {run['epochs']} epochs x {run['steps_per_epoch']} steps, "
        f"about {duration_text(run['seconds'])}"
        for run in plan["runs"]
    ]
    tasks = []
    for task, splits in plan["tasks"].items():
        truncated = splits["train"]["truncated_examples"]
        counts = ", ".join(f"{split} {counts['examples']}" for split, counts in splits.items())
        tasks.append(f"{plain(task)}: {counts}" + (f", {truncated} truncated" if truncated else ""))
    return "\n".join(head), "\n".join([*runs, "", *tasks])


def findings_text(output: str, errors: str) -> str:
    """The findings about the corpora, errors first; a split with errors cannot be trained on."""
    try:
        found = json.loads(output)
    except ValueError:
        said = [plain(line) for line in errors.splitlines() if line.strip()]
        return "\n".join(["The corpora could not be checked", *said])
    findings = sorted(found["findings"], key=lambda finding: _SEVERITIES.index(finding["severity"]))
    counts = {severity: sum(finding["severity"] == severity for finding in findings) for severity in _SEVERITIES}
    head = "corpora: " + ", ".join(f"{count} {severity}(s)" for severity, count in counts.items())
    told = [finding for finding in findings if finding["severity"] != _SEVERITIES[-1]]
    lines = [
        f"{finding['severity']} {finding['task']} {finding['split']}: {finding['count']} {finding['what']}"
        for finding in told[:MOST_FINDINGS]
    ]
    more = [f"... and {len(told) - MOST_FINDINGS} more: mtscale corpora check"] if len(told) > MOST_FINDINGS else []
    return "\n".join(plain(line) for line in (head, *lines, *more))
