"""What training together did to the tasks, step by step, set against what their pairs gained in the end."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtscale import names
from mtscale.durations import duration_text
from mtscale.metrics.association import Array, Association, associate
from mtscale.metrics.significance import ALPHA
from mtscale.runs import RunDirectory, is_finished
from mtscale.study import text
from mtscale.study.document import Block, Grid, Heading, Paragraph
from mtscale.study.figure import Relations
from mtscale.study.plan import Plan, Unit

EXPLANATION = (
    "Cosine: of the angle between two tasks' gradients on the shared encoder. Look-ahead: the part of the second "
    "task's loss that one step on the first takes away (Fifty et al. 2021), in thousandths. Both are means over the "
    "samples and seeds of one model of all tasks of the domain; gains are those of the figure, of models of two tasks."
)
CAUTION = (
    "rho is Spearman's rank correlation over directed pairs. Its p comes of exchanging whole tasks, since pairs that "
    "share a task are not independent. Gains are measured with an error of their own, which draws rho towards 0."
)

Pairs = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Affinities:
    """Of a domain's tasks, {(source, target): mean}, with what sampling took in seconds and as a share of the runs."""

    domain: str
    tasks: tuple[str, ...]
    cosine: Pairs
    lookahead: Pairs
    samples: int
    seeds: int
    seconds: float
    share: float


def blocks(plan: Plan, runs: Path, groups: Sequence[Relations]) -> Iterator[Block]:
    """The section; ``groups`` are the gains of the figure. Nothing where no affinity is sampled."""
    figure = plan.study.figure
    if figure is None or figure.affinity_every is None:
        return
    yield Heading("Affinities and gains")
    found = [one for domain in figure.encoders if (one := read(plan, runs, domain)) is not None]
    if not found:
        yield Paragraph("No run with affinities is finished, or none was long enough for a sample.")
        return
    yield Paragraph(EXPLANATION)
    gains = {group.domain: group for group in groups}
    for one in found:
        yield _pairs(one, gains.get(one.domain))
        yield Paragraph(
            f"{one.domain}: {one.samples} samples over {one.seeds} seed{'s' if one.seeds > 1 else ''} took "
            f"{duration_text(one.seconds)}, {one.share:.0%} of the training time of these runs."
        )
    whole = [(one, gains[one.domain]) for one in found if _is_whole(one, gains.get(one.domain))]
    if not whole:
        yield Paragraph("No domain has the gains of all its pairs yet, so nothing is correlated.")
        return
    yield _correlations(whole)
    yield Paragraph(CAUTION)


def read(plan: Plan, runs: Path, domain: str) -> Affinities | None:
    """The affinities of a domain, over all its runs that are finished; None where there is no sample."""
    tasks = plan.study.tasks_of(domain)
    sampled = [unit for unit in plan.units if _is_sampled(unit, plan, domain) and is_finished(runs / unit.name)]
    values: dict[str, list[float]] = defaultdict(list)
    shares, samples = [], 0
    for unit in sampled:
        events = [event for event in RunDirectory(runs / unit.name).events() if event.kind == "affinity"]
        samples += len(events)
        for event in events:
            for name, value in event.values.items():
                values[name].append(value)
        shares += [event.values[names.AFFINITY_SHARE] for event in events[-1:]]
    if not samples:
        return None
    pairs = [(source, target) for source in tasks for target in tasks if source != target]
    return Affinities(
        domain,
        tasks,
        {pair: statistics.fmean(values[names.cosine(*pair)]) for pair in pairs if values[names.cosine(*pair)]},
        {pair: statistics.fmean(values[names.lookahead(*pair)]) for pair in pairs if values[names.lookahead(*pair)]},
        samples,
        len(shares),
        sum(values[names.AFFINITY_SECONDS]),
        statistics.fmean(shares),
    )


def _is_sampled(unit: Unit, plan: Plan, domain: str) -> bool:
    figure = plan.study.figure
    assert figure is not None
    return (
        unit.recipe.refine.affinity_every is not None
        and unit.encoder == figure.encoders[domain]
        and set(unit.tasks) == set(plan.study.tasks_of(domain))
    )


def _pairs(one: Affinities, gains: Relations | None) -> Grid:
    rows = []
    for source in one.tasks:
        for target in one.tasks:
            if source != target:
                pair = source, target
                angle, effect = _number(one.cosine.get(pair)), _thousandths(one.lookahead.get(pair))
                rows.append((source, target, angle, effect, text.gain(gains.gains.get(pair) if gains else None)))
    header = ("with", "task", "cosine", "look-ahead", "gain in points")
    return Grid(f"{one.domain}: affinities, and what the pair gains", header, tuple(rows), f"affinities-{one.domain}")


def _number(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:+.3f}"


def _thousandths(value: float | None) -> str:
    return text.MISSING if value is None else f"{1000 * value:+.3f}"


def _is_whole(one: Affinities, gains: Relations | None) -> bool:
    pairs = len(one.tasks) * (len(one.tasks) - 1)
    return gains is not None and len(one.cosine) == len(one.lookahead) == pairs and None not in gains.gains.values()


def _correlations(whole: Sequence[tuple[Affinities, Relations]]) -> Grid:
    """Each domain by itself, and all together with ranks within each."""
    parts = [(one.domain, [(one, gains)]) for one, gains in whole]
    if len(whole) > 1:
        parts.append(("all, ranked within each", list(whole)))
    rows = []
    for called, of in parts:
        gained = [_gains(one.tasks, gains) for one, gains in of]
        by_cosine = associate([(_matrix(one.tasks, one.cosine), own) for (one, _), own in zip(of, gained, strict=True)])
        by_lookahead = associate(
            [(_matrix(one.tasks, one.lookahead), own) for (one, _), own in zip(of, gained, strict=True)]
        )
        rows.append((called, str(by_cosine.pairs), _rho(by_cosine), _rho(by_lookahead), _enough(by_cosine)))
    caption = "Rank correlation of affinities with measured gains"
    return Grid(caption, ("domain", "pairs", "cosine", "look-ahead", "note"), tuple(rows), "affinity-correlation")


def _matrix(tasks: Sequence[str], values: Pairs) -> Array:
    return np.array([[values.get((source, target), 0.0) for target in tasks] for source in tasks])


def _gains(tasks: Sequence[str], gains: Relations) -> Array:
    return _matrix(tasks, {pair: one.difference.difference for pair, one in gains.gains.items() if one is not None})


def _rho(found: Association) -> str:
    if found.rho is None or found.p is None:
        return "does not vary"
    return f"rho {found.rho:+.2f}, p {found.p:.3f}"


def _enough(found: Association) -> str:
    if found.least_p > ALPHA:
        return f"too few tasks to tell: their {found.orders} orders allow no p below {found.least_p:.2f}"
    return f"no p below {found.least_p:.3f} is possible" if found.least_p > 0.001 else ""
