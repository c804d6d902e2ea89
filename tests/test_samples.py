"""Sums per cluster add up to what the judge says, for every kind and metric; clusters are the corpus' own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtscale import judge
from mtscale.corpora import catalogue
from mtscale.corpora.example import PairExample
from mtscale.corpora.independent import cluster_of
from mtscale.errors import ConfigError, DataError
from mtscale.study import samples
from mtscale.study.samples import METRICS, read_test_set
from mtscale.tasks import PRIMARY_METRIC, SAMPLE_TASKS, TASKS, Kind, Task
from tests.noisy import noisy

CASES = [(task, metric) for task in SAMPLE_TASKS for metric in METRICS[task.kind]]


def test_every_primary_metric_can_be_compared() -> None:
    assert {kind: metrics[0] for kind, metrics in METRICS.items()} == dict(PRIMARY_METRIC)


@pytest.mark.parametrize(("task", "metric"), CASES, ids=[f"{task.name}-{metric}" for task, metric in CASES])
def test_sums_over_clusters_are_the_judges_scores(task: Task, metric: str) -> None:
    made = [noisy(task, "test", right, seed) for seed, right in enumerate((0.9, 0.6))]
    test_set = read_test_set(task, "test", None)
    scored = samples.score(test_set, metric, made)
    judged = [judge.score(task, "test", predictions, None).values[metric] for predictions in made]
    assert list(scored.scores) == judged
    assert scored.sample.seeds == 2
    assert scored.sample.clusters == len(set(test_set.clusters.values())) >= 25
    whole = scored.sample.scores(np.ones((1, scored.sample.clusters)))
    assert whole[0] == pytest.approx(judged, abs=1e-12)
    assert 0.1 < min(judged) < max(judged) < 1
    if metric != "spearman":
        assert scored.sample.additive() is scored.sample
    else:
        assert scored.sample.additive().scores(np.ones((1, scored.sample.clusters)))[0] == pytest.approx(judged)


@pytest.mark.parametrize("task", SAMPLE_TASKS, ids=lambda task: task.name)
def test_the_order_of_predictions_does_not_matter(task: Task) -> None:
    made = noisy(task, "test", 0.7, 1)
    test_set = read_test_set(task, "test", None)
    turned = replace(test_set, gold=dict(reversed(test_set.gold.items())))
    one = samples.score(test_set, task.metric, [made]).sample.additive()
    other = samples.score(turned, task.metric, [made[::-1]]).sample.additive()
    assert np.array_equal(one.statistics, other.statistics)


@pytest.mark.parametrize("name", ["cdr-disease", "cdr-relation"])
def test_clusters_are_documents(name: str) -> None:
    clusters = cluster_of(TASKS[name], "test", None)
    documents = {item.id: item.document for item in catalogue.iterate_gold(TASKS[name], "test", None)}
    assert clusters == documents
    assert name == "cdr-disease" or max(Counter(clusters.values()).values()) > 1


@pytest.mark.parametrize("name", ["cdr-similarity", "evidence-inference"])
def test_pairs_that_share_a_sentence_are_one_cluster(name: str) -> None:
    clusters = cluster_of(TASKS[name], "train", None)
    assert set(clusters) == set(catalogue.read_gold(TASKS[name], "train", None))
    owners: dict[str, set[str]] = {}
    for example in catalogue.read_examples(TASKS[name], "train", None):
        assert isinstance(example, PairExample)
        for text in (example.first, example.second, f"document {example.document}"):
            owners.setdefault(" ".join(text.casefold().split()), set()).add(clusters[example.id])
    assert all(len(found) == 1 for found in owners.values())
    assert 10 < len(set(clusters.values())) < len(clusters)


def test_pairs_are_joined_through_documents_sentences_and_chains(tmp_path: Path) -> None:
    rows = [
        ("1", "d1", "a", "b"),
        ("2", "d2", "c", "d"),
        ("3", "d2", "e", "f"),
        ("4", "d4", "F ", "g"),
        ("5", "d5", "h", "i"),
    ]
    lines = ["\t".join((*row, "1.0")) for row in rows]
    (tmp_path / "test.tsv").write_text("\n".join(["index\tdocument\tsentence1\tsentence2\tscore", *lines]) + "\n")
    task = replace(TASKS["cdr-similarity"], packaged=False, corpus="", files={"test": ("test.tsv",)})
    assert cluster_of(task, "test", tmp_path) == {"1": "1", "2": "2", "3": "2", "4": "2", "5": "5"}


def test_what_does_not_belong_to_the_gold_is_refused() -> None:
    disease, inference = TASKS["cdr-disease"], TASKS["evidence-inference"]
    made = noisy(disease, "test", 0.9, 1)
    with pytest.raises(DataError, match=r"task cdr-disease, test: .* with an id that is not in it"):
        samples.score(read_test_set(disease, "test", None), "f1", [[{**made[0], "document": "elsewhere"}]])
    with pytest.raises(DataError, match="found 0 with an id that is not in it and 1 missing"):
        samples.score(read_test_set(inference, "test", None), "accuracy", [noisy(inference, "test", 0.9, 1)[1:]])
    with pytest.raises(ConfigError, match="one of the metrics f1, conlleval_f1, partial_f1, found 'accuracy'"):
        samples.score(read_test_set(disease, "test", None), "accuracy", [made])
    del made[0]["tags"]
    with pytest.raises(DataError, match="conlleval_f1 needs predictions with words and tags"):
        samples.score(read_test_set(disease, "test", None), "conlleval_f1", [made])


def test_lost_predictions_are_misses() -> None:
    relation = TASKS["cdr-relation"]
    test_set = read_test_set(relation, "test", None)
    made = noisy(relation, "test", 1.0, 1)
    assert len(made) < len(test_set.gold)
    assert samples.score(test_set, "micro_f1", [made]).scores[0] < 1
    assert relation.kind is Kind.RELATION
