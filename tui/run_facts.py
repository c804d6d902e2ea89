"""What the screen of one run says in words and tables. No widgets here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.text import Text

from mtscale import names
from mtscale.event_log import Series
from mtscale.run_summary import RunSummary
from mtscale.runs import LIVE

from .cells import (
    NOTHING,
    Cell,
    Column,
    chose_on_dev,
    delta,
    duration,
    file_size,
    plain,
    progress,
    run_name,
    score,
    short,
    state_text,
)
from .groups import kept_score, macro, mean
from .store import RunDetail
from .topics import start_of

FILE_COLUMNS = (Column("file"), Column("size", number=True))
_BAR = 20
_SHORT = {
    "since start": "for",
    "examples/s": "ex/s",
    "pieces/s": "pieces/s",
    "learning rate": "lr",
    "gradient norm": "grad",
}


def task_columns(baseline: bool) -> list[Column]:
    """The heads of the task matrix; the difference only where there is a baseline."""
    titles = ["last", "best", "epoch", "kept", "floor", *(["Δ base"] if baseline else []), "test"]
    return [Column("task"), *(Column(title, number=True) for title in titles)]


def tasks_table(detail: RunDetail, baseline: Sequence[RunSummary] = ()) -> dict[str, list[Cell]]:
    """A row per task and one for their mean.

    Last and best score of all epochs, the epoch of the best, the score of the kept epoch, the floor, how far the kept
    score is above the mean of the baseline's, the test score. A run that chose on test has scores of test throughout.
    """
    summary = detail.summary
    split = names.chosen_on(summary["protocol"])
    # Scores of the two protocols are never compared.
    comparable = [other for other in baseline if other["protocol"] == summary["protocol"]]
    rows = {}
    for task in summary["tasks"]:
        kept = kept_score(summary, task, split)
        base = mean(kept_score(other, task, split) for other in comparable)
        floor = summary["scores"][task]["floor"]
        rows[task] = _row(detail, plain(task), names.metric(split, task, names.SCORE), (kept, floor, base))
        rows[task].append(Cell(score(summary["scores"][task]["test"])))
    base = mean(macro(other, split) for other in comparable if set(other["tasks"]) == set(summary["tasks"]))
    floors = [known["floor"] for known in summary["scores"].values()]
    whole = mean(floors) if None not in floors else None
    rows[""] = [*_row(detail, "macro", names.macro(split), (summary["macro"], whole, base))]
    rows[""].append(Cell(score(macro(summary, "test"))))
    if not baseline:
        rows = {key: [*cells[:-2], cells[-1]] for key, cells in rows.items()}
    return rows


def _row(
    detail: RunDetail, title: str, name: str, known: tuple[float | None, float | None, float | None]
) -> list[Cell]:
    series = detail.series.get(name)
    # MLflow knows of steps alone.
    last = best = epoch = None
    if series:
        place = max(range(len(series)), key=series.values.__getitem__)
        last, best, epoch = series.values[-1], series.values[place], series.epochs[place] or None
    kept, floor, base = known
    below = kept is not None and floor is not None and kept <= floor
    return [
        Cell(title, "bold" if title == "macro" else ""),
        Cell(score(last)),
        Cell(score(best)),
        Cell(NOTHING if epoch is None else str(epoch)),
        Cell(score(kept) + ("!" if below else ""), "bold yellow" if below else ""),
        Cell(score(floor)),
        delta(kept, base),
    ]


def heading(detail: RunDetail, baseline: Sequence[RunSummary] = ()) -> Text:
    """What the run is and how far it is, in two or three lines."""
    summary = detail.summary
    what = f"{summary['stage']} of {summary['recipe']}, seed {summary['seed']}, protocol {summary['protocol']}"
    text = Text.assemble(state_text(summary["state"]), f"  {run_name(summary)}  {plain(summary['id'])}\n", plain(what))
    if baseline:
        more = f" and {len(baseline) - 1} more" if len(baseline) > 1 else ""
        text.append(f", baseline {run_name(baseline[0])}{more}")
    text.append(f"\nstep {progress(summary)}  macro {score(summary['macro'])}")
    if not chose_on_dev(summary):
        text.append(f"  ({names.OPTIMISTIC})")
    if detail.left is not None:
        text.append(f"  {duration(detail.left)} left")
    if summary["message"]:
        text.append(f"  {plain(summary['message'])}")
    return text


def facts(detail: RunDetail) -> list[tuple[str, str]]:
    """Named numbers of the run as a whole: time, speed, memory, learning rate, gradient norm."""
    series = detail.series

    def last(name: str) -> float | None:
        found = series.get(name)
        return found.values[-1] if found else None

    start = start_of(series)
    # Of a run that has ended what counts is when it last recorded something.
    end = time.time() if detail.summary["state"] in LIVE else max((one.times[-1] for one in series.values()), default=0)
    known: list[tuple[str, float | None, str]] = [
        ("examples/s", last(names.EXAMPLES_PER_SECOND), ""),
        ("pieces/s", last(names.PIECES_PER_SECOND), ""),
        ("memory", last(names.RESIDENT_GIB), " GiB"),
        ("learning rate", last(names.LEARNING_RATE), ""),
        ("gradient norm", last(names.GRAD_NORM), ""),
        ("skipped steps", last(names.NONFINITE_STEPS), ""),
    ]
    shown = [("since start", duration(end - start))] if start else []
    if detail.left is not None:
        shown.append(("left", duration(detail.left)))
    return shown + [(title, short(value) + unit) for title, value, unit in known if value is not None]


def task_mix(tasks: Sequence[str], series: Mapping[str, Series]) -> list[tuple[str, float]]:
    """The share of each task in the records of training, largest first."""
    counts = {task: len(series.get(names.train_loss(task), ())) for task in tasks}
    total = sum(counts.values())
    shares = ((plain(task), count / total) for task, count in counts.items() if total)
    return sorted(shares, key=lambda share: -share[1])


def facts_line(detail: RunDetail) -> Text:
    """The facts in one line, as far as it goes."""
    return Text("  ".join(f"{_SHORT.get(title, title)} {value}" for title, value in facts(detail)), no_wrap=True)


def panel(detail: RunDetail) -> Text:
    """The facts and the task mix, one below the other."""
    mix = task_mix(detail.summary["tasks"], detail.series)
    named = facts(detail)
    width = max((len(title) for title, _ in named), default=0)
    lines = [f"{title:<{width}}  {value}" for title, value in named]
    if mix:
        widest = max(len(task) for task, _ in mix)
        lines += ["", "share of training"]
        lines += [f"{task:<{widest}} {share:>4.0%} {'━' * round(share * _BAR)}" for task, share in mix]
    return Text("\n".join(lines))


def files_table(files: Sequence[tuple[str, int]]) -> dict[str, list[Cell]]:
    """The files of a run with their sizes; of predictions too nothing else is shown."""
    return {name: [Cell(name), Cell(file_size(size))] for name, size in files}
