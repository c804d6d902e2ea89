"""A study as texts and cells: its progress, its units, its tables, its pairs. No widgets here."""

from __future__ import annotations

from collections.abc import Sequence

from mtscale import names
from mtscale.durations import duration_text
from mtscale.study.plan import Edge, size_text
from mtscale.study.tables import Score, ScoreTable

from .cells import NOTHING, STATE_STYLE, VERDICTS, Cell, Column, duration, plain
from .studies import STATES, StudySeen, UnitSeen

GREY = "bright_black"
MISSING = Cell(NOTHING, GREY)
UNIT_COLUMNS = (
    Column("state"),
    Column("unit"),
    Column("runs", number=True),
    Column("step", number=True),
    Column("est.", number=True),
    Column("took", number=True),
    Column(""),
)
STUDY_COLUMNS = (
    Column("study"),
    *(Column(state, number=True) for state in STATES),
    Column("left", number=True),
    Column("protocol"),
    Column("seeds"),
    Column(""),
)
PAIRS_LEGEND = (
    "What the column's task scores on test trained together with the row's, less alone: mean over seeds. "
    "▲ ▼ all of several seeds have this sign, · not so, - not there yet. Intervals, p-values: mtscale study report"
)
# From which difference on a field of the matrix is bold, and filled.
_BOLD, _FILLED = 0.005, 0.02


def progress_text(seen: StudySeen) -> str:
    """The counts of units, and what is left."""
    counts = seen.counts
    parts = [f"{counts['finished']} of {len(seen.units)} units finished"]
    parts += [f"{counts[state]} {state}" for state in STATES if state != "finished" and counts[state]]
    if seen.left and counts["finished"] < len(seen.units):
        parts.append(f"about {duration_text(seen.left)} {'left' if counts['running'] else 'to train'}")
    return ", ".join(parts)


def heading(seen: StudySeen) -> str:
    """What the study is and how it stands, with what is wrong above all."""
    lines = [plain(line) for line in seen.problem.splitlines()]
    title = plain(seen.plan.study.title) if seen.plan else ""
    lines.insert(0, f"study {plain(seen.name)}  {title}".rstrip())
    if seen.plan is not None:
        lines += [progress_text(seen), size_text(seen.plan)]
        if optimistic := [key for key in seen.plan.study.protocols if names.chosen_on(key) == "test"]:
            lines[-1] += f" Protocol {optimistic[0]}: {names.OPTIMISTIC}."
    return "\n".join(lines)


def studies_table(studies: Sequence[StudySeen]) -> dict[str, list[Cell]]:
    """A row for each study."""
    rows = {}
    for seen in studies:
        counts, study = seen.counts, seen.plan.study if seen.plan else None
        rows[seen.name] = [
            Cell(plain(seen.name)),
            *(_count(state, counts[state]) for state in STATES),
            Cell(duration_text(seen.left) if seen.left else NOTHING),
            Cell(", ".join(study.protocols) if study else NOTHING),
            Cell(", ".join(map(str, study.seeds)) if study else NOTHING),
            Cell(plain(" ".join((seen.problem or (study.title if study else "")).split()))),
        ]
    return rows


def _count(state: str, count: int) -> Cell:
    return Cell(str(count), STATE_STYLE.get(state, "")) if count else Cell(NOTHING)


def units_table(units: Sequence[UnitSeen]) -> dict[str, list[Cell]]:
    """A row for each unit, in the order of training."""
    return {seen.unit.name: _unit_row(seen) for seen in units}


def _unit_row(seen: UnitSeen) -> list[Cell]:
    finished = sum(run["state"] == "finished" for run in seen.runs)
    step = f"{seen.runs[-1]['step']}/{seen.runs[-1]['steps']}" if seen.runs and seen.state != "finished" else NOTHING
    took = NOTHING if seen.seconds is None else duration(seen.seconds) + (" +" if seen.state == "running" else "")
    return [
        Cell(seen.state, STATE_STYLE.get(seen.state, "")),
        Cell(plain(seen.unit.name)),
        Cell(f"{finished}/{len(seen.unit.runs)}"),
        Cell(step),
        Cell(NOTHING if seen.estimate is None else duration(seen.estimate)),
        Cell(took),
        Cell(plain(seen.why)),
    ]


def score_table(table: ScoreTable) -> tuple[list[Column], dict[str, list[Cell]]]:
    """The means and standard deviations of a table, with the floors; turned as it is printed."""
    tasks = list(table.tasks)
    labels = [*(row.label + (" (baseline)" if row.label == table.baseline else "") for row in table.rows), "floor"]
    grid = [
        [*(_score(row.scores[task], table.floors.get(task)) for task in tasks), _score(row.average, None)]
        for row in table.rows
    ]
    floors = [Cell(f"{table.floors[task]:.3f}") if task in table.floors else MISSING for task in tasks]
    grid.append([*floors, Cell("")])
    head = [*(f"{task} ({table.metrics[task]})" for task in tasks), "average"]
    if table.turned:
        labels, head, grid = head, labels, [list(column) for column in zip(*grid, strict=True)]
    columns = [Column(""), *(Column(plain(name), number=True) for name in head)]
    return columns, {label: [Cell(plain(label)), *cells] for label, cells in zip(labels, grid, strict=True)}


def _score(score: Score | None, floor: float | None) -> Cell:
    if score is None:
        return MISSING
    deviation = "" if score.deviation is None else f"±{score.deviation:.3f}"
    seeds = "" if score.is_whole else f" [{len(score.by_seed)}/{score.wanted}]"
    mark = "!" if floor is not None and score.mean <= floor else ""
    return Cell(f"{score.mean:.3f}{deviation}{mark}{seeds}")


def pairs_table(gains: Sequence[tuple[Edge, Score | None]]) -> tuple[list[Column], dict[str, list[Cell]]]:
    """Who was trained with whom, as a matrix: source by target, domain by domain where a pair stands in several."""
    sources = list(dict.fromkeys(edge.source for edge, _ in gains))
    places = [(edge.source, edge.target) for edge, _ in gains]
    is_one = len(set(places)) == len(places)
    columns = [Column("together with"), *(Column(plain(task), number=True) for task in sources)]
    fields: dict[tuple[str, str], dict[str, Score | None]] = {}
    for edge, gain in gains:
        fields.setdefault(("" if is_one else edge.domain, edge.source), {})[edge.target] = gain
    rows = {}
    for (domain, source), targets in fields.items():
        label = plain(f"{domain}: {source}" if domain else source)
        rows[f"{domain}/{source}"] = [
            Cell(label),
            *(_gain(targets[task]) if task in targets else Cell("") for task in sources),
        ]
    return columns, rows


def _gain(gain: Score | None) -> Cell:
    if gain is None:
        return MISSING
    value = round(gain.mean, 3)
    agree = len(gain.by_seed) > 1 and len({one > 0 for one in gain.by_seed.values()}) == 1 and value != 0
    mark, _ = VERDICTS[("gain" if value > 0 else "loss") if agree else "unclear"]
    seeds = "" if gain.is_whole else f" [{len(gain.by_seed)}/{gain.wanted}]"
    colour = "green" if value > 0 else "red"
    style = "" if value == 0 else f"bold {colour}" if abs(value) >= _BOLD else colour
    if abs(value) >= _FILLED:
        style = f"bold black on bright_{colour}"
    return Cell(f"{value:+.3f} {mark}{seeds}" if value else f"0.000 {mark}{seeds}", style)
