from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora.repeats import repeated


@settings(deadline=None)
@given(st.lists(st.text(max_size=2), max_size=60))
def test_the_ids_that_occur_more_than_once_are_found(ids: list[str]) -> None:
    assert repeated(iter(ids)) == {hash(id_) for id_, count in Counter(ids).items() if count > 1}


def test_many_ids_far_apart() -> None:
    ids = [str(number) for number in range(200_000)]
    assert repeated([*ids, "77", "123456", "77"]) == {hash("77"), hash("123456")}
