"""Stored predictions: one JSON object a line, by example id, with offsets, labels and numbers, never text.

    {"id": ..., "document": ..., "score": 3.2}                                           similarity
    {"id": ..., "document": ..., "label": "effect", "probabilities": [...]}              relation, inference
    {"id": ..., "document": ..., "spans": [[start, end, label], ...], "words": [[start, end], ...], "tags": [...]}

Spans and words are half-open offsets in the document. ``words`` and ``tags`` (both or neither) are what the CoNLL
reading needs; the strict one needs spans alone. A tag may also be X, CLS or SEP (``metrics.spans.PIECE_CLASSES``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

from mtscale.errors import DataError
from mtscale.metrics.spans import PIECE_CLASSES
from mtscale.runs import write_atomically
from mtscale.tasks import Kind, Task


class Prediction(TypedDict, total=False):
    """One example's prediction.

    Similarity has ``score``; relation and inference ``label`` and a probability per class; tagging ``spans``
    (document offsets, label) with the mean probability of each, and the sentence's ``words`` and ``tags``. On new text
    it also has the probability of each word's tag (``word_probabilities``), which is not stored.
    """

    id: str
    document: str
    score: float
    label: str
    spans: list[tuple[int, int, str]]
    probabilities: list[float]
    words: list[tuple[int, int]]
    tags: list[str]
    word_probabilities: list[float]


def store(predictions: Sequence[Prediction], path: Path) -> None:
    """Write predictions as JSON lines, private to the user, all or nothing."""
    write_atomically(path, "".join(json.dumps(prediction) + "\n" for prediction in predictions))


def load(path: Path, task: Task) -> list[Prediction]:
    """Read stored predictions of a task; other keys than those above are ignored.

    Raises:
        DataError: the file cannot be read, a line is not what the task's kind needs, or an id occurs twice.
    """
    found: list[Prediction] = []
    seen: set[str] = set()
    for number, line in _lines(path):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        problem = _problem(content, task)
        if problem is None and content["id"] in seen:
            problem = "a second prediction for an id; keep one"
        if problem is not None:
            raise DataError(f"{path}:{number}: {problem}")
        seen.add(content["id"])
        found.append(cast(Prediction, content))
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield from ((number, line) for number, line in enumerate(stream, start=1) if line.strip())
    except OSError as error:
        raise DataError(f"{path}: expected a readable file of predictions, found: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected UTF-8, found another encoding; convert the file") from None


def _problem(content: object, task: Task) -> str | None:
    """What is wrong with a line, or None."""
    if not isinstance(content, Mapping):
        return 'expected a JSON object such as {"id": ..., "document": ..., ...}'
    wanted: dict[str, Callable[[object, Task], bool]] = {"id": _is_text, "document": _is_text}
    if task.kind is Kind.SIMILARITY:
        wanted = {"id": _is_text, "score": _is_finite}
    elif task.kind is Kind.TAGGING:
        wanted["spans"] = _are_spans
        if "tags" in content or "words" in content:
            wanted |= {"words": _are_words, "tags": _are_tags}
    else:
        wanted = {"id": _is_text, "label": _is_label}
    wrong = [key for key, is_right in wanted.items() if key not in content or not is_right(content[key], task)]
    if wrong:
        labels = f" (labels: {', '.join(task.labels)})" if task.labels else ""
        return f"a prediction of {task.name} ({task.kind.value}) needs {', '.join(wanted)}{labels}; see {wrong[0]!r}"
    if "tags" in wanted and len(content["tags"]) != len(content["words"]):
        return "expected as many tags as words"
    return None


def _is_text(value: object, _: Task) -> bool:
    return isinstance(value, str)


def _is_finite(value: object, _: Task) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_label(value: object, task: Task) -> bool:
    return value in task.labels


def _are_spans(value: object, task: Task) -> bool:
    return isinstance(value, list) and all(
        isinstance(span, list) and len(span) == 3 and _is_stretch(span[:2]) and span[2] in task.labels for span in value
    )


def _are_words(value: object, _: Task) -> bool:
    return isinstance(value, list) and all(_is_stretch(word) for word in value)


def _are_tags(value: object, task: Task) -> bool:
    classes = {"O", *PIECE_CLASSES, *(f"{prefix}-{label}" for label in task.labels for prefix in "BI")}
    return isinstance(value, list) and all(isinstance(tag, str) and tag in classes for tag in value)


def _is_stretch(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(bound, int) and not isinstance(bound, bool) for bound in value)
        and 0 <= value[0] < value[1]
    )
