"""The model card of an export (README.md), filled from the run: no example text, and names only where they say nothing.

What is written of labels, names and licences comes from recipes and corpora: it is escaped, so that nothing in it is
HTML, Markdown or YAML to a reader of the card.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtscale import names, recipe
from mtscale.metrics.spans import PIECE_CLASSES
from mtscale.procedure import PaperSettings
from mtscale.run_summary import RunSummary, summarize
from mtscale.runs import RunDirectory, RunRecord
from mtscale.serving.shown import visible
from mtscale.tasks import Access, Kind, Task

CALIBRATION = "calibration"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~])")

_TASK_CODE: Mapping[Kind, str] = {
    Kind.TAGGING: 'pipeline("token-classification", model=FOLDER, aggregation_strategy="first")(SENTENCE)',
    Kind.RELATION: 'pipeline("text-classification", model=FOLDER, top_k=None)(SENTENCE_WITH_MARKED_ARGUMENTS)',
    Kind.INFERENCE: 'pipeline("text-classification", model=FOLDER, top_k=None)({"text": FIRST, "text_pair": SECOND})',
    Kind.SIMILARITY: 'pipeline("text-classification", model=FOLDER)({"text": FIRST, "text_pair": SECOND})',
}


def card(run: RunDirectory, trained: Sequence[Task], tasks: Sequence[Task], max_pieces: int, *, whole: bool) -> str:
    """The card of one task's export, or of the ``whole`` model's; ``trained`` are all tasks that the encoder learnt."""
    record, summary = run.record, summarize(run)
    loaded = recipe.load(run.path / "recipe.toml")
    sections = [
        _front_matter(tasks, whole=whole),
        f"# {plain(record.recipe)}: {', '.join(plain(task.name) for task in tasks)}",
        _notice(sealed_sources(record, trained)),
        _use(tasks, max_pieces, loaded.procedure, whole=whole),
        "## Training\n\n" + _facts(record, loaded.encoder.name),
        "## Data\n\n" + "\n".join(_data(task, record) for task in trained),
        "## Scores\n\n" + _scores(run.path, summary, tasks, record.protocol),
        "## Calibration\n\n" + _calibration(run.path, tasks),
        "## Limits\n\n" + _limits(tasks, max_pieces),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def plain(text: str) -> str:
    """A text from outside on one line, with nothing in it that Markdown or HTML would act on."""
    return _MARKDOWN.sub(r"\\\1", html.escape(visible(text), quote=False))


def _front_matter(tasks: Sequence[Task], *, whole: bool) -> str:
    kinds = sorted({task.kind for task in tasks})
    tags = json.dumps(["mtscale", "biomedical", *(kind.value for kind in kinds)])
    lines = ["library_name: " + ("mtscale" if whole else "transformers"), "license: other", f"tags: {tags}"]
    if not whole:
        pipeline = "token-classification" if tasks[0].kind is Kind.TAGGING else "text-classification"
        lines.append(f"pipeline_tag: {pipeline}")
    return "\n".join(["---", *lines, "---"])


def sealed_sources(record: RunRecord, trained: Sequence[Task]) -> list[str]:
    """What a run's weights have learnt from under a use agreement: tasks, or what its encoder was made from."""
    sealed = [task.name for task in trained if task.access is Access.DUA]
    if record.access == Access.DUA.value and not sealed:
        return ["the encoder's own training text"]
    return sealed


def _notice(sealed: Sequence[str]) -> str:
    if not sealed:
        return ""
    return (
        f"> **Data use agreement.** Trained on data under one ({', '.join(map(plain, sealed))}). Weights may hold "
        "traces of their training data. Whether they may leave your institution is for the agreement and its "
        "owners to say; this folder was written because it was asked for by `--allow-dua`."
    )


def _use(tasks: Sequence[Task], max_pieces: int, procedure: PaperSettings, *, whole: bool) -> str:
    intro = (
        "## Use\n\nMeant for research on texts like those it was trained on. It is no medical device; what it finds "
        "has to be checked by a person before anything depends on it.\n\n"
    )
    if whole:
        return intro + "```\nmtscale predict --model FOLDER INPUT... -o PREDICTIONS\n```"
    (task,) = tasks
    marks = ""
    if task.kind is Kind.RELATION:
        how = "replaced by their types, as in `@CHEMICAL$`" if task.marking == "mask" else "between typed markers"
        marks = f" The two arguments are {how}; `mtscale predict` marks them itself."
    code = _TASK_CODE[task.kind]
    if task.kind is Kind.TAGGING and procedure.tag_classes == "pieces":
        code = code.replace(")(", f", ignore_labels={json.dumps(['O', *PIECE_CLASSES])})(")
    if procedure.pair_order == "second_first":
        # As it was trained: what comes second in a pair is read first.
        code = code.replace('"text": FIRST, "text_pair": SECOND', '"text": SECOND, "text_pair": FIRST')
    return (
        f"{intro}```python\nfrom transformers import pipeline\n{code}\n```\n\n"
        f"An input has at most {max_pieces} word pieces.{marks}"
    )


def _facts(record: RunRecord, encoder: str) -> str:
    facts = {
        "run": f"{record.name} ({record.id})",
        "recipe": f"{record.recipe} ({record.recipe_hash})",
        "stage, seed": f"{record.stage}, {record.seed}",
        "tasks trained together": ", ".join(record.tasks),
        "encoder at the start": encoder,
        "protocol": record.protocol,
        "code": record.git or "",
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    }
    return _table(["what", "value"], [[name, plain(str(value))] for name, value in facts.items() if value])


def _data(task: Task, record: RunRecord) -> str:
    facts = [
        f"**{plain(task.name)}**: {task.kind.value}, {plain(task.domain)}, access {task.access.value}",
        f"labels {', '.join(map(plain, task.labels))}" if task.labels else f"scores {task.score_range}",
        f"licence: {plain(task.licence)}" if task.licence else "licence: not stated",
        f"source: {plain(task.source)}" if task.source else "",
        f"SHA-256 of the files of train, dev and test: `{record.data_hashes.get(task.name, 'not recorded')}`",
    ]
    return "* " + "; ".join(fact for fact in facts if fact)


def _scores(run: Path, summary: RunSummary, tasks: Sequence[Task], protocol: str) -> str:
    rows = []
    for task in tasks:
        found = summary["scores"][task.name]
        numbers = [f"{one:.4f}" if one is not None else "" for one in (found["dev"], found["test"], found["floor"])]
        intervals = {one["split"]: one["interval"] for one in _evaluated(run, task) if one.get("interval")}
        for place, split in enumerate(("dev", "test")):
            if numbers[place] and split in intervals:
                numbers[place] += " ({:.4f} to {:.4f})".format(*intervals[split])
        rows.append([plain(task.name), task.metric, *numbers])
    note = (
        "One run, one seed; in parentheses 95 % intervals over documents, where `mtscale evaluate` has measured them. "
        "The floor is what a constant answer, or a dictionary of training mentions, reaches."
    )
    if names.chosen_on(protocol) == "test":
        note += f" Test scores are {names.OPTIMISTIC}."
    return _table(["task", "metric", "dev", "test", "floor"], rows) + f"\n\n{note}"


def _calibration(run: Path, tasks: Sequence[Task]) -> str:
    rows = []
    for task in tasks:
        for found in _evaluated(run, task):
            if "temperature" not in found:
                continue  # similarity has no probabilities
            numbers = [found["temperature"], found["ece"], found["ece_scaled"]]
            rows.append([plain(task.name), found["split"], *(f"{one:.4f}" for one in numbers)])
    if not rows:
        return "Not measured; `mtscale evaluate` does."
    header = ["task", "split", "temperature", "expected calibration error", "with that temperature"]
    return _table(header, rows) + "\n\nTemperatures were fitted on dev and are not part of the weights."


def _evaluated(run: Path, task: Task) -> list[dict[str, Any]]:
    """What ``mtscale evaluate`` has found of a task, of each split it was run on."""
    paths = sorted((run / "reports" / CALIBRATION).glob(f"*.{task.name}.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _limits(tasks: Sequence[Task], max_pieces: int) -> str:
    limits = [
        "Scores are those of the corpora above; other institutions, specialities, languages and years were not tried.",
        f"What is longer than {max_pieces} word pieces is cut off.",
    ]
    kinds = {task.kind for task in tasks}
    if Kind.TAGGING in kinds:
        limits.append(
            "Tagging was trained on single sentences of at most 30 words; mentions are flat and without gaps, and none "
            "crosses a sentence end. Texts have to be cut into sentences first (`mtscale predict` does)."
        )
    if Kind.RELATION in kinds:
        limits.append("Relations were learnt between two mentions of one sentence.")
    return "\n".join(f"* {limit}" for limit in limits)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
