"""A few kills of ``tests.kills``: runs that are killed, of one and of two ranks, end as if they never had been."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kill_moments import ALONE, IN_A_SAVE, TWO, Kill, Layout, Night, nights
from tests.kills import kill_runs
from tests.lab import Lab


@pytest.fixture
def lab(tmp_path: Path, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path)
    made.write(tiny_encoder)
    return made


BETWEEN = next(point for point in IN_A_SAVE if point.what == "between the renames of the best")


@pytest.mark.parametrize(
    ("layout", "kills"),
    [
        pytest.param(ALONE, (Kill("rank 0", point=BETWEEN),), marks=pytest.mark.slow),
        pytest.param(ALONE, (Kill("rank 0", share=0.6), Kill("rank 0", share=0.1)), marks=pytest.mark.slow),
        # The first kill is in the first epoch, whose end always saves a best.
        pytest.param(TWO, (Kill("runner", share=0.2), Kill("rank 1", point=BETWEEN)), marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_as_if_it_never_had_been(lab: Lab, layout: Layout, kills: tuple[Kill, ...]) -> None:
    plans = iter([Night(1, layout, kills, own_store=False)])
    tally = kill_runs(lab, plans, count=len(kills), ranks=(layout.ranks,), workers=2)
    assert tally.deviations == []
    assert tuple(tally.kills) == kills


@pytest.mark.slow
def test_a_dozen_kills(lab: Lab) -> None:
    tally = kill_runs(lab, nights(seed=1, ranks=(1, 2)), count=12, ranks=(1, 2), workers=2)
    assert tally.deviations == []
    assert len(tally.kills) >= 12
    assert sum(kill.point in IN_A_SAVE for kill in tally.kills) >= 4


def test_nearly_half_of_all_kills_are_inside_a_save_and_every_target_comes() -> None:
    plans = nights(seed=1, ranks=(1, 2))
    kills = [kill for _ in range(60) for kill in next(plans).kills]
    assert sum(kill.point in IN_A_SAVE for kill in kills) > 0.4 * len(kills)
    assert {kill.target for kill in kills} == {"rank 0", "rank 1", "command", "runner", "launcher"}
    assert {kill.point for kill in kills} >= set(IN_A_SAVE)
