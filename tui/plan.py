"""What ``mtscale train --dry-run`` and ``mtscale corpora check`` found out, in a few lines."""

from __future__ import annotations

import json

from mtscale.durations import duration_text

from .store import plain

MOST_FINDINGS = 8
_SEVERITIES = ("error", "warning", "note")


def plan_text(output: str) -> str:
    """Runs, steps, memory and time, and what of the corpora is cut."""
    plan = json.loads(output)
    lines = ["Machine, DeepSpeed JSON and corpora allow it."]
    first = plan["runs"][0]
    lines.append(f"{first['precision']}, ZeRO {first['zero_stage']}, {first['world_size']} rank(s)")
    batch = f"{first['world_size']} x {first['accumulation']} x {first['micro_batch']}"
    lines.append(f"batch {first['batch_size']} = ranks x accumulation x micro-batch = {batch}")
    memory = max(run["memory_gib"] for run in plan["runs"])
    lines.append(f"memory of a rank: about {memory:.1f} GiB")
    guess = ", a guess on this machine" if plan["seconds_are_a_guess"] else ""
    lines.append(f"time: about {duration_text(plan['seconds'])}{guess}")
    lines.append("")
    for run in plan["runs"]:
        steps = f"{run['epochs']} epochs x {run['steps_per_epoch']} steps, about {duration_text(run['seconds'])}"
        lines.append(f"{plain(run['run'])}: {steps}")
    lines.append("")
    for task, splits in plan["tasks"].items():
        train = splits["train"]
        cut = f", {train['truncated_examples']} truncated" if train["truncated_examples"] else ""
        counts = ", ".join(f"{split} {counts['examples']}" for split, counts in splits.items())
        lines.append(f"{plain(task)}: {counts}{cut}")
    return "\n".join(lines)


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
