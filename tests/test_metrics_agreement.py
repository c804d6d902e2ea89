"""Every metric against another program's count of the same thing, over a thousand random cases."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from mtscale.errors import DataError
from mtscale.metrics.inference import accuracy, inference_confusion
from mtscale.metrics.regression import pearson, spearman
from mtscale.metrics.relations import relation_confusion
from mtscale.metrics.scoring import score_similarity
from mtscale.metrics.spans import Mention, conlleval_f1, decode_iob2, partial_f1, strict_f1, strict_iob2_f1
from mtscale.tasks import TASKS

CASES = 1000
CLASSES = ("contradiction", "entailment", "neutral")
POSITIVES = ("advise", "effect", "int", "mechanism")
RELATIONS = (*POSITIVES, "false")
ENTITIES = ("Disease", "Chemical")
LETTERS = {"O": "o", "B-Disease": "b", "I-Disease": "i", "B-Chemical": "c", "I-Chemical": "j"}

Documents = dict[str, set[Mention]]


def random_cases(seed: int) -> Iterator[random.Random]:
    """Random numbers for each case, the same in every run."""
    for case in range(CASES):
        yield random.Random(f"{seed}/{case}")


def some_of(labels: Sequence[str], rng: random.Random) -> list[str]:
    """Some of the classes, so that others are absent from gold and predictions."""
    return rng.sample(labels, rng.randint(1, len(labels)))


# Relations


def test_relations_agree_with_scikit_learn() -> None:
    absent = 0
    for rng in random_cases(seed=1):
        used = some_of(RELATIONS, rng)
        expected, found = rng.choices(used, k=20), rng.choices(used, k=20)
        absent += len(used) < len(RELATIONS)
        confusion = relation_confusion(
            {str(index): (label,) for index, label in enumerate(expected)},
            {str(index): label for index, label in reversed(list(enumerate(found)))},
            RELATIONS,
            "false",
        )
        assert confusion.rows == confusion_matrix(expected, found, labels=RELATIONS).tolist()
        options = {"labels": list(POSITIVES), "zero_division": 0}
        micro = confusion.micro(POSITIVES)
        reference = precision_recall_fscore_support(expected, found, average="micro", **options)
        assert (micro.precision, micro.recall, micro.f1) == pytest.approx(reference[:3])
        per_class = precision_recall_fscore_support(expected, found, average=None, **options)
        for label, *reference in zip(POSITIVES, *per_class, strict=True):
            counts = confusion.counts(label)
            assert (counts.precision, counts.recall, counts.f1, counts.support) == pytest.approx(tuple(reference))
        assert confusion.macro_f1(POSITIVES) == pytest.approx(np.mean(per_class[2]))
    assert absent > CASES / 2


def test_pairs_of_several_relations_or_no_prediction_agree_with_scikit_learn_on_label_sets() -> None:
    """Doubled relations, the negative one among others, none at all; and pairs that were lost."""
    for rng in random_cases(seed=2):
        used = some_of(RELATIONS, rng)
        gold = {str(index): tuple(rng.choices(used, k=rng.randint(0, 3))) for index in range(12)}
        predicted = {pair: rng.choice(used) for pair in gold if rng.random() < 0.8}
        expected = np.array([[label in labels for label in POSITIVES] for labels in gold.values()], dtype=int)
        found = np.array([[label == predicted.get(pair) for label in POSITIVES] for pair in gold], dtype=int)

        confusion = relation_confusion(gold, predicted, RELATIONS, "false")

        micro = confusion.micro(POSITIVES)
        reference = precision_recall_fscore_support(expected, found, average="micro", zero_division=0)
        assert (micro.precision, micro.recall, micro.f1) == pytest.approx(reference[:3])
        per_class = precision_recall_fscore_support(expected, found, average=None, zero_division=0)
        for label, *reference in zip(POSITIVES, *per_class, strict=True):
            counts = confusion.counts(label)
            assert (counts.precision, counts.recall, counts.f1, counts.support) == pytest.approx(tuple(reference))
        assert confusion.macro_f1(POSITIVES) == pytest.approx(np.mean(per_class[2]))


# Inference


def test_inference_agrees_with_scikit_learn() -> None:
    for rng in random_cases(seed=3):
        used = some_of(CLASSES, rng)
        size = rng.randint(1, 20)
        expected, found = rng.choices(used, k=size), rng.choices(used, k=size)
        gold = {f"pair{index}": label for index, label in enumerate(expected)}
        predicted = {f"pair{index}": label for index, label in reversed(list(enumerate(found)))}

        confusion = inference_confusion(gold, predicted, CLASSES)

        assert confusion.rows == confusion_matrix(expected, found, labels=CLASSES).tolist()
        assert accuracy(confusion) == pytest.approx(accuracy_score(expected, found))
        options = {"labels": list(CLASSES), "average": "macro", "zero_division": 0}
        assert confusion.macro_f1(CLASSES) == pytest.approx(
            precision_recall_fscore_support(expected, found, **options)[2]
        )


# Similarity


def test_similarity_agrees_with_scipy() -> None:
    """Scores of halves, so that there are ties; predictions of the same grid, fine ones and constant ones."""
    constant = 0
    for rng in random_cases(seed=4):
        size = rng.randint(2, 15)
        gold = [rng.randint(0, 4) / 2 for _ in range(size)]
        predicted = rng.choice(
            [[rng.randint(0, 4) / 2 for _ in gold], [rng.uniform(-9, 9) for _ in gold], [rng.uniform(-9, 9)] * size]
        )
        if len(set(gold)) == 1:
            with pytest.raises(DataError, match="equal ones"):
                pearson(gold, predicted)
            continue
        if len(set(predicted)) == 1:
            assert pearson(gold, predicted) == spearman(gold, predicted) == 0.0
            constant += 1
            continue
        assert pearson(gold, predicted) == pytest.approx(pearsonr(gold, predicted).statistic, abs=1e-9)
        assert pearson(gold, predicted) == pytest.approx(np.corrcoef(gold, predicted)[0, 1], abs=1e-9)
        assert spearman(gold, predicted) == pytest.approx(spearmanr(gold, predicted).statistic, abs=1e-9)
        by_id = list(enumerate(predicted))
        rng.shuffle(by_id)
        values = score_similarity(
            TASKS["clinicalsts"],
            {str(index): score for index, score in enumerate(gold)},
            {str(index): score for index, score in by_id},
        ).values
        assert (values["pearson"], values["spearman"]) == (pearson(gold, predicted), spearman(gold, predicted))
    assert constant > CASES / 10


# Tagged words


def random_tags(rng: random.Random, lengths: Sequence[int]) -> list[list[str]]:
    return [rng.choices(list(LETTERS), weights=(3, 1, 1, 1, 1), k=length) for length in lengths]


def repaired(tags: list[str]) -> list[str]:
    """The same mentions in tags that IOB2 allows."""
    valid = ["O"] * len(tags)
    for start, end, label in decode_iob2(tags):
        valid[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return valid


def mentions(tags: list[list[str]]) -> dict[str, frozenset[Mention]]:
    """Each sentence a document, and its words the offsets."""
    return {str(number): frozenset(decode_iob2(words)) for number, words in enumerate(tags)}


def chunks(tags: list[list[str]], pattern: str) -> set[tuple[int, int, int, str]]:
    """An independent reading: each tag one letter, each mention a match."""
    return {
        (number, *match.span(), "Disease" if match.group()[0] in "bi" else "Chemical")
        for number, words in enumerate(tags)
        for match in re.finditer(pattern, "".join(LETTERS[word] for word in words))
    }


def f1_of_sets(gold: set[tuple[int, int, int, str]], predicted: set[tuple[int, int, int, str]]) -> float:
    return 2 * len(gold & predicted) / (len(gold) + len(predicted)) if gold or predicted else 0.0


def test_strict_spans_agree_with_seqeval_strict() -> None:
    for rng in random_cases(seed=5):
        lengths = [rng.randint(1, 10) for _ in range(rng.randint(1, 4))]
        gold, predicted = ([repaired(words) for words in random_tags(rng, lengths)] for _ in range(2))
        score = strict_f1(mentions(gold), mentions(predicted), ENTITIES)
        strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
        assert score.micro.precision == pytest.approx(precision_score(gold, predicted, average="micro", **strict))
        assert score.micro.recall == pytest.approx(recall_score(gold, predicted, average="micro", **strict))
        assert score.micro.f1 == pytest.approx(f1_score(gold, predicted, average="micro", **strict))
        assert strict_iob2_f1(gold, predicted) == pytest.approx(score.micro.f1)
        if score.micro.support:
            report = classification_report(gold, predicted, output_dict=True, **strict)
            for label in report.keys() & set(ENTITIES):
                assert score.per_label[label].f1 == pytest.approx(report[label]["f1-score"])
                assert score.per_label[label].support == report[label]["support"]


def test_conlleval_agrees_with_seqeval_default_and_with_an_independent_reading() -> None:
    """Tags as they come: stray I, I after O, I of another label, in the gold as well."""
    for rng in random_cases(seed=6):
        lengths = [rng.randint(1, 10) for _ in range(rng.randint(1, 4))]
        gold, predicted = random_tags(rng, lengths), random_tags(rng, lengths)
        lenient, strict = "bi*|i+|cj*|j+", "bi*|cj*"
        reference = f1_score(gold, predicted, zero_division=0)
        assert conlleval_f1(gold, predicted) == pytest.approx(reference)
        assert f1_of_sets(chunks(gold, lenient), chunks(predicted, lenient)) == pytest.approx(reference)
        decoded = [(number, *mention) for number, words in enumerate(gold) for mention in decode_iob2(words)]
        assert decoded == sorted(chunks(gold, lenient))
        assert strict_f1(mentions(gold), mentions(predicted), ENTITIES).micro.f1 == pytest.approx(reference)
        strictly = f1_of_sets(chunks(gold, strict), chunks(predicted, strict))
        assert strict_iob2_f1(gold, predicted) == pytest.approx(strictly)


# Mentions in documents


def random_mentions(rng: random.Random) -> Documents:
    """Mentions that may overlap, in few places, so that many are right."""
    documents: Documents = {str(document): set() for document in range(3)}
    for _ in range(rng.randint(0, 12)):
        start = rng.randint(0, 6)
        mention = Mention(start, start + rng.randint(1, 3), rng.choice(ENTITIES))
        documents[rng.choice("012")].add(mention)
    return documents


def as_lines(documents: Documents) -> Counter[str]:
    """How often each line would stand in a file of mentions."""
    return Counter(
        f"{document}\t{mention.start}\t{mention.end}\t{mention.label}"
        for document, found in documents.items()
        for mention in found
    )


def test_entities_agree_with_a_count_of_lines() -> None:
    for rng in random_cases(seed=7):
        gold, predicted = random_mentions(rng), random_mentions(rng)
        for document in rng.sample("012", rng.randint(0, 2)):
            del predicted[document]
        score = strict_f1(gold, predicted, ENTITIES)
        expected, found = as_lines(gold), as_lines(predicted)
        right = (expected & found).total()
        assert score.micro.true_positives == right
        assert score.micro.false_positives == found.total() - right
        assert score.micro.false_negatives == expected.total() - right
        for label in ENTITIES:
            hits = sum(line.endswith(label) for line in expected & found)
            golds, finds = (sum(line.endswith(label) for line in lines) for lines in (expected, found))
            counts = score.per_label[label]
            assert (counts.precision, counts.recall) == pytest.approx((hits / (finds or 1), hits / (golds or 1)))
            assert counts.f1 == pytest.approx(2 * hits / ((golds + finds) or 1))


def best_credit(gold: Sequence[Mention], predicted: Sequence[Mention]) -> float:
    """The most that any one-to-one matching earns, by trying all: a gold mention with each prediction, or with none."""
    if not gold:
        return 0.0
    first, others = gold[0], gold[1:]
    best = best_credit(others, predicted)
    for index, other in enumerate(predicted):
        shared = set(range(first.start, first.end)) & set(range(other.start, other.end))
        if first.label == other.label and shared:
            credit = 1.0 if first == other else 0.5
            best = max(best, credit + best_credit(others, [*predicted[:index], *predicted[index + 1 :]]))
    return best


def apart(rng: random.Random) -> Documents:
    """Mentions that do not overlap others of their label."""
    documents: Documents = {}
    for document in "01":
        documents[document] = set()
        for label in ENTITIES:
            ends = sorted(rng.sample(range(12), 2 * rng.randint(0, 4)))
            documents[document] |= {Mention(*place, label) for place in zip(ends[::2], ends[1::2], strict=True)}
    return documents


def test_partial_credit_is_the_best_there_is_where_mentions_lie_apart() -> None:
    overlapping = 0
    for rng in random_cases(seed=8):
        gold, predicted = apart(rng), apart(rng)
        score = partial_f1(gold, predicted, ENTITIES)
        expected, found = ([*documents["0"], *documents["1"]] for documents in (gold, predicted))
        credit = sum(best_credit(sorted(gold[document]), sorted(predicted[document])) for document in "01")
        assert score.credit == credit
        assert score.precision == pytest.approx(credit / (len(found) or 1))
        assert score.recall == pytest.approx(credit / (len(expected) or 1))
        assert score.f1 == pytest.approx(2 * credit / ((len(expected) + len(found)) or 1))
        overlapping += score.overlapping
    assert overlapping > CASES


def test_partial_credit_where_mentions_overlap_others_of_their_label() -> None:
    """The sweep may earn less than the best, never more; exact matches come first; both sides are treated alike."""
    for rng in random_cases(seed=9):
        gold, predicted = random_mentions(rng), random_mentions(rng)
        score, strict = partial_f1(gold, predicted, ENTITIES), strict_f1(gold, predicted, ENTITIES)
        turned = partial_f1(predicted, gold, ENTITIES)
        assert score.exact == strict.micro.true_positives
        assert (score.precision, score.recall, score.f1) == (turned.recall, turned.precision, turned.f1)
        assert score.f1 >= strict.micro.f1
        left = [
            (sorted(gold[document] - predicted[document]), sorted(predicted[document] - gold[document]))
            for document in gold
        ]
        most = sum(best_credit(*sides) for sides in left)
        assert most / 2 <= score.overlapping / 2 <= most
