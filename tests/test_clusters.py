from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mtscale.corpora.clusters import clusters
from tests.costs import cost


def test_clusters_name_the_first_pair_that_is_reached_by_equal_sentences() -> None:
    assert clusters([]) == []
    assert clusters([("a", "b"), ("c", "d"), ("a", "a"), ("e", "f")]) == [0, 1, 0, 3]
    assert clusters([("a", "b"), ("c", "d"), ("e", "f"), ("f", "c"), ("d", "b"), ("g", "a ")]) == [0, 0, 0, 0, 0, 5]


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("abcdefghij"))))
def test_clusters_are_the_connected_components(pairs: list[tuple[str, str]]) -> None:
    slow = list(range(len(pairs)))
    for _ in pairs:
        for one in range(len(pairs)):
            slow[one] = min(slow[other] for other in range(len(pairs)) if set(pairs[one]) & set(pairs[other]))
    assert clusters(pairs) == slow


def test_clusters_of_a_long_chain_take_no_time() -> None:
    found: set[int] = set()
    assert cost(lambda: found.update(clusters((str(one), str(one + 1)) for one in range(50_000, 0, -1)))) < 20
    assert found == {0}
