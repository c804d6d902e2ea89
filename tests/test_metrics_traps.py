"""Where the field's scoring code goes wrong: a case worked out by hand for each trap, with what that code prints.

"The authors" are Peng, Chen and Lu (2020) with mt-bluebert; "BLUE" is the scoring of BLUE_Benchmark. Their numbers come
from the rules that their code follows: none of it runs here. Choosing the epoch by its test score is no matter of
metrics, and BLUE's documents with several classes each (HoC) are no task here: no kind of task has its score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from mtscale.errors import DataError
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


def relations(gold: str, predicted: str) -> TaskScore:
    """A pair each word: its relations joined by "+", its prediction or "lost"."""
    labels = {str(index): tuple(word.split("+")) for index, word in enumerate(gold.split())}
    found = {str(index): word for index, word in enumerate(predicted.split()) if word != "lost"}
    return score_relation(TASKS["ddi2013"], labels, found)


def disease(start: int, end: int) -> Mention:
    return Mention(start, end, "Disease")


def tagging(
    gold: Mapping[str, set[Mention]],
    predicted: Mapping[str, set[Mention]],
    gold_tags: Sequence[str] = (),
    predicted_tags: Sequence[str] = (),
) -> TaskScore:
    """Sentences of tags are given as "O B I", all of one entity type."""
    task = replace(TASKS["bc5cdr-disease"], labels=("Disease", "Chemical"))
    sides = [[spelled(sentence) for sentence in tags] or None for tags in (gold_tags, predicted_tags)]
    return score_tagging(task, gold, predicted, *sides)


def spelled(sentence: str) -> list[str]:
    return [f"{tag}-Disease" if tag in "BI" else tag for tag in sentence.split()]


# Relations


def test_the_negative_class_of_ddi_is_left_out_of_the_f1() -> None:
    # BLUE's eval_rel.py leaves out a class spelled "false" only. DDI's is spelled "DDI-false", so it prints the
    # accuracy as F1: 10 of 12 right, 0.833.
    score = relations(
        "advise effect int   mechanism false  false false false false false false false",
        "advise effect false mechanism effect false false false false false false false",
    )
    # 3 hits, int missed, one false alarm.
    assert score.values["score"] == score.values["micro_f1"] == pytest.approx(6 / 8)
    assert (score.values["micro_precision"], score.values["micro_recall"]) == pytest.approx((3 / 4, 3 / 4))


def test_a_class_that_is_nowhere_keeps_its_place() -> None:
    # "int" is nowhere. The authors build the confusion matrix without labels=, so it has four rows, and the four of
    # "all but the last class" take in "false": micro F1 0.800, the accuracy, and macro F1 0.833.
    score = relations(
        "advise effect effect mechanism false  false false false false false",
        "advise effect false  mechanism effect false false false false false",
    )
    assert score.values["micro_f1"] == pytest.approx(6 / 8)
    assert score.values["macro_f1"] == pytest.approx((1 + 1 / 2 + 0 + 1) / 4)
    assert score.confusion is not None
    assert score.confusion.rows == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 1], [0] * 5, [0, 0, 0, 1, 0], [0, 1, 0, 0, 5]]


def test_two_classes_that_are_nowhere_do_not_make_the_score_zero() -> None:
    # The authors look for a fourth row in a matrix of three; the error is logged and the score is 0.000.
    score = relations("advise effect false", "advise effect false")
    assert score.values["micro_f1"] == 1.0
    assert score.values["macro_f1"] == pytest.approx((1 + 1 + 0 + 0) / 4)


def test_no_score_depends_on_what_numpy_still_offers() -> None:
    # The authors divide with dtype=np.float, gone since NumPy 1.24, under a bare `except` that gives NaN: every
    # precision, recall and F1 is NaN. The micro F1 printed is then 0.000, for NaN has no .item(), and the macro F1 nan.
    score = relations("advise effect int mechanism false", "advise effect int mechanism false")
    assert set(score.values.values()) == {1.0}


def test_relations_of_lost_pairs_are_missed() -> None:
    # The authors score the rows that preprocessing wrote, all of them right: F1 1.000.
    score = relations(
        "advise effect int mechanism false advise effect int  mechanism false",
        "advise effect int mechanism false lost   lost   lost lost      lost",
    )
    assert (score.values["micro_precision"], score.values["micro_recall"]) == (1.0, 0.5)
    assert score.values["micro_f1"] == pytest.approx(2 / 3)


def test_pairs_without_relation_may_be_lost() -> None:
    # BLUE's ChemProt gold lists pairs across sentences, all "false", that no prediction file has; BLUE refuses files
    # of different length. A lost pair is predicted negative, so here they change nothing.
    gold, predicted = "advise effect false", "advise false effect"
    more = relations(gold + 50 * " false", predicted + 50 * " lost")
    assert more.values == relations(gold, predicted).values


def test_predictions_for_other_pairs_are_refused() -> None:
    # BLUE leaves out a row whose arguments are not the gold's: the other three are right, F1 1.000, though the
    # relation of the fourth pair was missed.
    gold = {"1": ("advise",), "2": ("effect",), "3": ("false",), "4": ("effect",)}
    predicted = {"1": "advise", "2": "effect", "3": "false", "5": "effect"}
    with pytest.raises(ValueError, match="1 with an id that is not in it"):
        score_relation(TASKS["ddi2013"], gold, predicted)
    del predicted["5"]
    assert score_relation(TASKS["ddi2013"], gold, predicted).values["micro_f1"] == pytest.approx(4 / 5)


def test_a_pair_with_two_relations_is_one_pair() -> None:
    # BLUE writes the pair twice. The authors' one prediction for both rows is a hit in one and a false positive in the
    # other: F1 0.750.
    score = relations("advise+effect int mechanism false", "advise int mechanism false")
    assert (score.values["micro_precision"], score.values["micro_recall"]) == pytest.approx((1.0, 3 / 4))
    assert score.values["micro_f1"] == pytest.approx(6 / 7)


def test_a_wrong_prediction_for_a_pair_with_two_relations_is_wrong_once() -> None:
    # In the authors' two rows it is two false positives: precision and recall are 2 of 4, F1 0.500.
    score = relations("advise+effect int mechanism false", "mechanism int mechanism false")
    assert (score.values["micro_precision"], score.values["micro_recall"]) == pytest.approx((2 / 3, 2 / 4))
    assert score.values["micro_f1"] == pytest.approx(4 / 7)


def test_ddi_has_both_averages() -> None:
    # The authors print the micro F1 of the four types, 0.842; BLUE's tables have had the macro F1, here 0.250, since
    # August 2019. Numbers of the two do not compare.
    score = relations("effect " * 8 + "advise int mechanism false", "effect " * 8 + "false false false false")
    assert score.values["score"] == score.values["micro_f1"] == pytest.approx(16 / 19)
    assert score.values["macro_f1"] == pytest.approx((0 + 1 + 0 + 0) / 4)


# Inference


def test_inference_is_scored_by_accuracy() -> None:
    # The authors and BLUE print the micro F1 of the three classes, 0.750: the accuracy under another name.
    gold = {"1": "contradiction", "2": "entailment", "3": "neutral", "4": "neutral"}
    values = score_inference(TASKS["mednli"], gold, {**gold, "2": "neutral"}).values
    assert values["score"] == values["accuracy"] == 3 / 4
    assert values["macro_f1"] == pytest.approx((1 + 0 + 4 / 5) / 3)


def test_every_inference_pair_needs_its_prediction() -> None:
    # The authors score the rows they read; BLUE compares row by row and stops where ids differ. A pair cannot be lost.
    with pytest.raises(ValueError, match="1 missing"):
        score_inference(TASKS["mednli"], {"1": "neutral", "2": "entailment"}, {"1": "neutral"})


# Similarity


def test_constant_scores_are_no_nan() -> None:
    # scipy gives the authors NaN, and np.argmax takes NaN for the best of all epochs.
    gold = {"1": 0.0, "2": 2.5, "3": 4.0}
    values = score_similarity(TASKS["clinicalsts"], gold, dict.fromkeys(gold, 2.5)).values
    assert set(values.values()) == {0.0}
    with pytest.raises(DataError, match="equal ones"):
        score_similarity(TASKS["clinicalsts"], dict.fromkeys(gold, 2.5), gold)


def test_a_nan_prediction_is_an_error() -> None:
    # The authors print Pearson nan and go on.
    with pytest.raises(ValueError, match="1 of 2"):
        score_similarity(TASKS["clinicalsts"], {"1": 1.0, "2": 2.0}, {"1": math.nan, "2": 1.0})


def test_scores_are_compared_by_id_and_as_they_are() -> None:
    # The authors pair scores by row and stop where ids differ. As with them, no score is cut to the range of the gold:
    # with 9 cut to 5, r would be 1.
    gold, predicted = {"1": 0.0, "2": 2.0, "3": 5.0}, {"3": 9.0, "1": 0.0, "2": 2.0}
    # Deviations (-7, -1, 8)/3 and (-11, -5, 16)/3: r = 210 / sqrt(114 * 402).
    values = score_similarity(TASKS["clinicalsts"], gold, predicted).values
    assert values["pearson"] == pytest.approx(210 / math.sqrt(114 * 402))


# Tagging


def test_i_after_o_in_the_gold() -> None:
    # A mention in two parts as BLUE writes ShARe/CLEF, where conlleval sees two chunks: 5,623 for the 5,195 mentions of
    # the test set. A tagger that finds the first part alone has one hit and one miss: the authors print F1 0.667.
    score = tagging({"1": {disease(0, 20)}}, {"1": {disease(0, 8)}}, ["B O I"], ["B O O"])
    assert score.values["conlleval_f1"] == pytest.approx(2 / 3)
    # Strict IOB2 sees no second part. The corpus has one mention, and it was found in part.
    assert score.report["strict_iob2_f1"] == 1.0
    assert (score.values["f1"], score.values["partial_f1"]) == (0.0, 0.5)


def test_a_mention_cut_between_two_pieces_is_one_mention() -> None:
    # The authors cut sentences at 30 words, where the gold has O, on test too; a mention that is cut all the same goes
    # on with I in the next piece and is a second chunk there. With the first part found alone they print F1 0.667.
    score = tagging({"1": {disease(0, 20)}}, {"1": {disease(0, 8)}}, ["O B", "I O"], ["O B", "O O"])
    assert score.values["conlleval_f1"] == pytest.approx(2 / 3)
    assert (score.values["f1"], score.values["partial_f1"]) == (0.0, 0.5)


@pytest.mark.parametrize("tag", ["X", "CLS", "SEP"])
def test_classes_of_word_pieces_are_no_mention(tag: str) -> None:
    # The authors train X, CLS and SEP as classes. Predicted right after a mention, where O stands in the gold, one
    # opens a chunk of empty type: a false positive beside the hit, F1 0.667. Only the CoNLL reading has it so.
    values = tagging({"1": {disease(0, 8)}}, {"1": {disease(0, 8)}}, ["B O"], [f"B {tag}"]).values
    assert values["conlleval_f1"] == pytest.approx(2 / 3)
    assert values["f1"] == 1.0
    with pytest.raises(ValueError, match=f"found another of {len(tag)} characters"):
        tagging({"1": {disease(0, 8)}}, {"1": {disease(0, 8)}}, [f"B {tag}"], ["B O"])


def test_mentions_of_lost_sentences_are_missed() -> None:
    # The authors score the sentences that reached the model: F1 1.000.
    gold = {"1": {disease(0, 5), disease(40, 45)}, "2": {disease(0, 5)}}
    score = tagging(gold, {"1": {disease(0, 5)}}, ["B O"], ["B O"])
    assert score.values["conlleval_f1"] == 1.0
    assert (score.values["precision"], score.values["recall"]) == pytest.approx((1.0, 1 / 3))
    assert score.values["f1"] == score.values["partial_f1"] == 0.5


def test_a_mention_inside_another_is_a_mention() -> None:
    # BLUE tags the words of each mention in turn, so the later one overwrites the earlier: here the gold tags are B I
    # for the longer mention and then B I again, one chunk, and finding it gives the authors F1 1.000.
    score = tagging({"1": {disease(0, 13), disease(0, 6)}}, {"1": {disease(0, 13)}}, ["B I"], ["B I"])
    assert score.values["conlleval_f1"] == 1.0
    assert score.values["f1"] == score.values["partial_f1"] == pytest.approx(2 / 3)


def test_a_word_that_holds_a_mention_is_not_the_mention() -> None:
    # BLUE tags a word that contains a mention; the authors compare words, so the whole word is right: F1 1.000.
    score = tagging({"1": {disease(4, 9)}}, {"1": {disease(0, 9)}}, ["B"], ["B"])
    assert score.values["conlleval_f1"] == 1.0
    assert (score.values["f1"], score.values["partial_f1"]) == (0.0, 0.5)


def test_the_entity_type_counts() -> None:
    # BLUE's eval_ner.py compares document and offsets alone: F1 1.000.
    values = tagging({"1": {disease(0, 5)}}, {"1": {Mention(0, 5, "Chemical")}}).values
    assert values["f1"] == values["partial_f1"] == 0.0


# Empty classes and averages: never NaN, never left out


@pytest.mark.parametrize(
    ("gold", "predicted", "precision", "recall"),
    [
        ("false false", "false false", 0.0, 0.0),
        ("false false", "int false", 0.0, 0.0),
        ("int false", "false false", 0.0, 0.0),
        ("int false", "int int", 0.5, 1.0),
    ],
)
def test_relations_with_nothing_to_divide_by(gold: str, predicted: str, precision: float, recall: float) -> None:
    # The authors' NumPy wrote 0 there as well, but with fewer than four classes in the data they print 0.000 for all.
    score = relations(gold, predicted)
    assert (score.values["micro_precision"], score.values["micro_recall"]) == (precision, recall)
    f1 = 2 / 3 if recall else 0.0
    assert score.values["micro_f1"] == pytest.approx(f1)
    # A class that is nowhere has F1 0 and stays in the mean.
    assert score.values["macro_f1"] == pytest.approx(f1 / 4)


@pytest.mark.parametrize(
    ("gold", "predicted", "tags"),
    [
        ({"1": set[Mention]()}, {}, ("O", "O")),
        ({"1": set[Mention]()}, {"1": {disease(0, 5)}}, ("O", "B")),
        ({"1": {disease(0, 5)}}, {}, ("B", "O")),
    ],
)
def test_tagging_with_nothing_to_divide_by(
    gold: dict[str, set[Mention]], predicted: dict[str, set[Mention]], tags: tuple[str, str]
) -> None:
    # conlleval prints 0 too; the authors' macro average, over no type where there is no chunk, is NaN.
    score = tagging(gold, predicted, [tags[0]], [tags[1]])
    assert set(score.values.values()) == {0.0}
    assert score.report["strict_iob2_f1"] == 0.0


def test_an_inference_class_that_is_nowhere_stays_in_the_mean() -> None:
    # The authors print one average only, over the classes they meet.
    gold = {"1": "contradiction", "2": "entailment"}
    values = score_inference(TASKS["mednli"], gold, gold).values
    assert (values["accuracy"], values["macro_f1"]) == pytest.approx((1.0, 2 / 3))


def test_an_average_with_nan_in_it_is_an_error() -> None:
    # The authors average over the tasks with np.average, NaN if one task is, and then take the epoch of np.argmax:
    # the first with NaN.
    with pytest.raises(ValueError, match="for chemprot"):
        macro_score({"ddi2013": 0.8, "chemprot": math.nan})


def test_empty_gold_is_an_error() -> None:
    # The authors' micro F1 without a row is 0.000 for relations, the error of an empty matrix being swallowed.
    with pytest.raises(DataError, match="found none"):
        relations("", "")
    with pytest.raises(DataError, match="found none"):
        tagging({}, {})
    with pytest.raises(DataError, match="found none"):
        score_inference(TASKS["mednli"], {}, {})
    with pytest.raises(DataError, match="found none"):
        score_similarity(TASKS["clinicalsts"], {}, {})
