"""The text of a recipe for the tasks found in a folder, with what was guessed and what is to decide as comments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from mtscale.corpora.discover import Discovery
from mtscale.corpora.guess import Found
from mtscale.encoders import ALIASES
from mtscale.tasks import TASKS, Access, Task

_HEAD = """\
name = {name}
stages = ["refine"]            # "finetune" after it trains each task on from there
protocol = "clean"
seeds = [1]
data_root = {data_root}

[encoder]
name = "sample"                # a folder, a hub id, or {aliases}
max_pieces = 128

# For the packaged sample encoder. For one of BERT's size the paper has learning_rate = 5e-5 and at most 100 epochs.
[refine]
epochs = 5
learning_rate = 5e-4
"""


def recipe_text(name: str, discovery: Discovery) -> str:
    """The recipe in TOML; it loads as it stands."""
    head = _HEAD.format(
        name=_value(name), data_root=_value(str(discovery.data_root)), aliases=", ".join(map(_value, ALIASES))
    )
    notes = "".join(f"# {_one_line(note)}\n" for note in discovery.notes)
    return "\n".join([notes + head, *("\n".join(_table(found)) + "\n" for found in discovery.tasks)])


def _table(found: Found) -> Iterator[str]:
    task = found.task
    yield "[[tasks]]"
    yield f"name = {_value(task.name)}"
    if task == TASKS.get(task.name):
        return
    yield from (f"# {_one_line(note)}" for note in found.notes)
    for key, value in _fields(task).items():
        yield f"{key} = {_value(value)}"
    yield f"# decide: who may see text of it? {_value(Access.DUA.value)} keeps it where the corpus is"
    yield f"access = {_value(task.access.value)}"
    yield f"domain = {_value(task.domain)}"


def _fields(task: Task) -> dict[str, object]:
    """What a recipe says of a task of one's own, without what is as by default."""
    fields: dict[str, object] = {
        "kind": task.kind.value,
        "format": task.format,
        "files": {split: names[0] if len(names) == 1 else names for split, names in task.files.items()},
        "labels": task.labels,
        "negative": task.negative,
        "arguments": task.arguments,
        "relation": task.relation,
        "candidates": None if task.candidates == "all" else task.candidates,
        "score_range": task.score_range,
        "columns": task.columns,
        "dev_fraction": task.dev_fraction,
        "folds": task.folds,
    }
    return {key: value for key, value in fields.items() if value is not None and value not in ((), {})}


def _value(value: object) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON writes texts and numbers as TOML does, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(note: str) -> str:
    return note if note.isprintable() else repr(note)
