"""Masks: how many, of which kind, drawn from what; counted here without the code that draws them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.pretraining.masking import Masking, Pieces

MASK_ID, FIRST_ORDINARY, SIZE = 4, 5, 1000
# Of the ordinary pieces every third goes on with a word.
CONTINUES = np.array([number >= FIRST_ORDINARY and number % 3 == 0 for number in range(SIZE)])


def masking(*, words: bool = False, rate: float = 0.15) -> Masking:
    ordinary = np.arange(FIRST_ORDINARY, SIZE, dtype=np.int32)
    return Masking(rate, 0.8, 0.1, words, MASK_ID, ordinary, CONTINUES)


def row_of(length: int, seed: int = 0) -> Pieces:
    return np.random.default_rng(seed).integers(FIRST_ORDINARY, SIZE, size=length, dtype=np.int32)


@settings(deadline=None)
@given(length=st.integers(1, 200), rate=st.floats(0.01, 0.99), number=st.integers(0, 2**40))
def test_a_row_has_the_share_of_its_pieces_masked_and_the_others_as_they_were(
    length: int, rate: float, number: int
) -> None:
    pieces = row_of(length)
    before = pieces.copy()
    seen, chosen = masking(rate=rate).draw(pieces, 1, 1, number)
    assert len(set(chosen.tolist())) == len(chosen) == max(1, round(rate * length))
    assert sorted(chosen) == chosen.tolist()
    untouched = np.setdiff1d(np.arange(length), chosen)
    assert (seen[untouched] == pieces[untouched]).all()
    assert (pieces == before).all(), "what the cache holds is not written to"


@pytest.mark.parametrize("words", [False, True])
def test_of_what_is_chosen_80_in_100_are_masks_10_others_and_10_stay(words: bool) -> None:
    draw = masking(words=words)
    masked = stayed = other = special = 0
    for number in range(3000):
        pieces = row_of(126, seed=number % 50)
        seen, chosen = draw.draw(pieces, 7, 2, number)
        masked += int((seen[chosen] == MASK_ID).sum())
        same = seen[chosen] == pieces[chosen]
        stayed += int(same.sum())
        other += int((~same & (seen[chosen] != MASK_ID)).sum())
        special += int((seen[chosen] < FIRST_ORDINARY).sum())
    total = masked + stayed + other
    # Of the random pieces one in 995 is the piece itself. Three standard deviations of a share of 57,000 draws: 0.005.
    assert masked / total == pytest.approx(0.8, abs=0.005)
    assert stayed / total == pytest.approx(0.1 + 0.1 / 995, abs=0.005)
    assert other / total == pytest.approx(0.1 - 0.1 / 995, abs=0.005)
    assert special == masked, "no special piece but the mask takes the place of another"
    assert words or total == 3000 * 19


def test_every_position_is_chosen_equally_often() -> None:
    counts = np.zeros(126)
    for number in range(4000):
        counts[masking().draw(row_of(126), 3, 1, number)[1]] += 1
    expected, spread = 4000 * 19 / 126, np.sqrt(4000 * 19 / 126 * (1 - 19 / 126))
    assert np.abs(counts - expected).max() < 5 * spread


def test_masks_depend_on_seed_epoch_and_row_alone() -> None:
    pieces = row_of(126)

    def drawn(seed: int, epoch: int, number: int) -> tuple[bytes, bytes]:
        seen, chosen = masking().draw(pieces, seed, epoch, number)
        return seen.tobytes(), chosen.tobytes()

    assert drawn(1, 2, 3) == drawn(1, 2, 3)
    different = {drawn(1, 2, 3), drawn(2, 2, 3), drawn(1, 3, 3), drawn(1, 2, 4), drawn(0, 0, 3)}
    assert len(different) == 5


@settings(deadline=None)
@given(length=st.integers(1, 150), seed=st.integers(0, 1000))
def test_whole_words_are_masked_with_all_their_pieces(length: int, seed: int) -> None:
    pieces = row_of(length, seed)
    _, chosen = masking(words=True).draw(pieces, 1, 1, seed)
    picked = set(chosen.tolist())
    assert len(picked) <= max(1, round(0.15 * length))
    for position in range(1, length):
        if CONTINUES[pieces[position]]:  # it and the piece before are of one word
            assert (position in picked) == (position - 1 in picked)


def test_whole_words_come_close_to_the_share() -> None:
    counts = [len(masking(words=True).draw(row_of(126, number), 1, 1, number)[1]) for number in range(300)]
    assert np.mean(counts) > 0.95 * 19
