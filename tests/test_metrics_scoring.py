from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest

from mtscale.errors import ConfigError
from mtscale.metrics.scoring import (
    TaskScore,
    macro_score,
    score_inference,
    score_relation,
    score_similarity,
    score_tagging,
)
from mtscale.metrics.spans import Mention
from mtscale.tasks import TASKS


def similarity() -> TaskScore:
    return score_similarity(TASKS["clinicalsts"], {"a": 1.0, "b": 2.0, "c": 4.0}, {"c": 9.0, "b": 1.0, "a": 2.0})


def inference() -> TaskScore:
    gold = {"a": "entailment", "b": "neutral", "c": "neutral", "d": "neutral"}
    return score_inference(TASKS["mednli"], gold, dict.fromkeys(gold, "neutral"))


def relation() -> TaskScore:
    gold = {"a": ("effect",), "b": ("effect", "int"), "c": ("false",), "d": ("advise",)}
    return score_relation(TASKS["ddi2013"], gold, {"a": "effect", "b": "int", "c": "effect"})


def tagging() -> TaskScore:
    gold = {"1": {Mention(0, 5, "Disease"), Mention(6, 9, "Disease")}}
    found = {"1": {Mention(0, 5, "Disease"), Mention(8, 9, "Disease"), Mention(30, 39, "Disease")}}
    return score_tagging(TASKS["bc5cdr-disease"], gold, found, [["I-Disease", "B-Disease"]], [["I-Disease", "O"]])


def test_similarity_values() -> None:
    # Deviations (-4, -1, 5)/3 and (-2, -3, 5): r = 36/3 / sqrt(42/9 * 38).
    assert similarity().values == pytest.approx(
        {"score": 12 / math.sqrt(42 / 9 * 38), "pearson": 12 / math.sqrt(42 / 9 * 38), "spearman": 0.5}
    )
    assert similarity().report == {"support": 3}
    assert similarity().confusion is None


def test_inference_values() -> None:
    result = inference()
    assert result.values == pytest.approx({"score": 0.75, "accuracy": 0.75, "macro_f1": (0 + 0 + 6 / 7) / 3})
    assert result.confusion is not None
    assert result.confusion.rows == [[0, 0, 0], [0, 0, 1], [0, 0, 3]]
    classes = json.loads(json.dumps(result.report))["classes"]
    assert list(classes) == ["contradiction", "entailment", "neutral"]
    assert [counts["support"] for counts in classes.values()] == [0, 1, 3]


def test_relation_values() -> None:
    # effect: one hit, one miss, one false alarm; int: one hit; advise: one miss; mechanism: absent.
    result = relation()
    assert result.values == pytest.approx(
        {
            "score": 4 / 7,
            "micro_f1": 4 / 7,
            "macro_f1": (0 + 1 / 2 + 1 + 0) / 4,
            "micro_precision": 2 / 3,
            "micro_recall": 2 / 4,
        }
    )
    report = json.loads(json.dumps(result.report))
    assert list(report["classes"]) == ["advise", "effect", "int", "mechanism", "false"]
    assert report["classes"]["effect"] == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "support": 2,
        "true_positives": 1,
        "false_positives": 1,
        "false_negatives": 1,
    }
    assert report["micro"]["support"] == 4
    assert result.confusion is not None
    assert result.confusion.labels == TASKS["ddi2013"].labels


def test_tagging_values() -> None:
    result = tagging()
    assert result.values == pytest.approx(
        {"score": 0.4, "f1": 0.4, "precision": 1 / 3, "recall": 1 / 2, "partial_f1": 0.6, "conlleval_f1": 2 / 3}
    )
    report = json.loads(json.dumps(result.report))
    assert report["labels"]["Disease"]["support"] == report["micro"]["support"] == 2
    assert report["partial"] == pytest.approx(
        {"precision": 1.5 / 3, "recall": 1.5 / 2, "f1": 0.6, "exact": 1, "overlapping": 1, "predicted": 3, "gold": 2}
    )
    assert report["strict_iob2_f1"] == 0.0
    assert result.confusion is None


def test_tagging_without_tags() -> None:
    mentions = {"1": {Mention(0, 5, "Disease")}}
    result = score_tagging(TASKS["bc5cdr-disease"], mentions, mentions)
    assert result.values == {"score": 1.0, "f1": 1.0, "precision": 1.0, "recall": 1.0, "partial_f1": 1.0}
    assert list(result.report) == ["labels", "micro", "partial"]


def test_tags_on_one_side_only_are_refused() -> None:
    mentions = {"1": {Mention(0, 5, "Disease")}}
    with pytest.raises(ValueError, match="or neither, found one"):
        score_tagging(TASKS["bc5cdr-disease"], mentions, mentions, [["B-Disease"]])
    with pytest.raises(ValueError, match="or neither, found one"):
        score_tagging(TASKS["bc5cdr-disease"], mentions, mentions, predicted_tags=[["B-Disease"]])


def test_pairs_need_every_prediction() -> None:
    with pytest.raises(ValueError, match="1 missing"):
        score_similarity(TASKS["clinicalsts"], {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 2.0})
    with pytest.raises(ValueError, match="1 missing"):
        score_inference(TASKS["mednli"], {"a": "neutral", "b": "neutral"}, {"a": "neutral"})


@pytest.mark.parametrize(("labels", "negative"), [(("int", "false"), None), (("int",), "false"), (("false",), "false")])
def test_a_relation_task_declares_its_negative_class(labels: tuple[str, ...], negative: str | None) -> None:
    task = replace(TASKS["ddi2013"], labels=labels, negative=negative)
    with pytest.raises(ConfigError, match="ddi2013: expected among its labels a negative class"):
        score_relation(task, {"a": ("int",)}, {})


def test_the_macro_score_is_the_papers_average() -> None:
    # Peng et al. 2020, Table 3, MT-BlueBERT-Refinement biomedical: 0.714 0.792 0.824 0.930, Avg 0.815.
    assert macro_score({"a": 0.714, "b": 0.792, "c": 0.824, "d": 0.930}) == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize(("scores", "message"), [({}, "found none"), ({"a": 0.5, "b": math.nan}, "for b$")])
def test_the_macro_score_needs_finite_scores(scores: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        macro_score(scores)


def test_the_module_imports_without_the_training_packages() -> None:
    """A machine that only watches runs has no scipy, scikit-learn or seqeval."""
    program = (
        "import sys, mtscale.metrics.floors, mtscale.metrics.scoring\n"
        "print(sorted({'scipy', 'sklearn', 'seqeval', 'numpy', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
