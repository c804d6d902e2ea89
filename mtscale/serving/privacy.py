"""What of the data could be in a run directory: its files by kind, how documents are named in it, who could read it.

Reads names, modes, settings and the ids of stored predictions; no corpus and no weights. What was predicted, exported
or reported elsewhere is not known here.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtscale import recipe
from mtscale.corpora.naming import is_hashed
from mtscale.encoders import ACCESS, is_marked
from mtscale.inputs import purge
from mtscale.recipe_tasks import TaskTable
from mtscale.runs import LIVE, OUTPUT, UNFINISHED, RunDirectory
from mtscale.sealed import MANIFEST
from mtscale.tasks import TASKS, Access

COULD_HOLD: Mapping[str, str] = {
    "weights": "traces of the training text, which attacks can recover in part",
    "optimizer states": "the same: weights, moments of their gradients; pickles, to be loaded by their own run alone",
    "vocabulary": "the word pieces of the encoder that the run started from",
    "predictions": "ids and names of documents, offsets, labels, numbers; no text",
    "reports": "counts and scores by label",
    "logs": "numbers; in messages ids, offsets and places of files",
    "settings": "labels, places of files, the command, the machine's name",
    "unfinished": "as what was being written",
    "unknown": "anything: it is no file that a run writes",
}
FROM_TEXT = "words and parts of words that are frequent in the text it was made from"

_SETTINGS = {"run.json", "recipe.toml", "ds_config.json", "environment.txt", "status.json", "stop"}
_LOGS = {"train.log", "events.jsonl", OUTPUT}
_VOCABULARY = re.compile(r"tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|spiece\.model")
_PREDICTIONS = re.compile(r"predictions/(?:dev|test)\.([^/]+)\.jsonl")
_REPORTS = re.compile(r"reports/(?:dev|test|calibration)/[^/]+\.(?:json|png)")
_CHECKPOINT = re.compile(r"checkpoints/(best|step-\d+)/(.+)")
_ASIDE = re.compile(r"checkpoints/\.(?:saving|old)-.+")

Names = Literal["hashed", "as in the corpus", "none stored"]


@dataclass(frozen=True)
class Finding:
    """Something to be looked at: of which kind, where, what was found and what to do."""

    kind: Literal["mode", "unknown file", "link", "document names", "mark", "unfinished"]
    where: str
    found: str
    do: str


@dataclass(frozen=True)
class TaskFacts:
    """A task of the run, and how the documents of its stored predictions are named."""

    task: str
    kind: str
    access: str
    predictions: int
    documents: Names


@dataclass(frozen=True)
class FileFacts:
    """The files of one kind, their bytes, and what of the data they could hold."""

    kind: str
    files: int
    bytes: int
    could_hold: str


@dataclass(frozen=True)
class CacheFacts:
    """Encoded text of the run's data: its folder, of what, its access mark, files and bytes."""

    folder: str
    what: str
    access: str | None
    files: int
    bytes: int


@dataclass(frozen=True)
class PrivacyReport:
    """What ``mtscale privacy`` says of a run."""

    run: str
    directory: str
    access: str
    mirror: str | None
    tasks: tuple[TaskFacts, ...]
    files: tuple[FileFacts, ...]
    caches: tuple[CacheFacts, ...]
    findings: tuple[Finding, ...]


def examine(run: RunDirectory, cache_folders: list[Path]) -> PrivacyReport:
    """Look through a run directory, and through caches for what is encoded of its data.

    Raises:
        ConfigError: the recipe in it cannot be read.
        OSError: a folder of it cannot be read.
    """
    record, live = run.record, run.state() in LIVE
    kinds: dict[str, list[Path]] = {}
    links = []
    for path in _paths(run.path):
        if path.is_symlink():
            links.append(path)
        elif path.is_file():
            kinds.setdefault(kind_of(run.path, path), []).append(path)
    tables = [table for table in recipe.load(run.path / "recipe.toml").tasks if table.name in record.tasks]
    tasks, names = _tasks(run.path, tables)
    findings = [
        *_modes(run.path),
        *(_link(run.path, path) for path in links),
        *(_unknown(run.path, path) for path in kinds.get("unknown", ())),
        *names,
        *_marks(run, tasks),
        *(_unfinished(run.path, path) for path in kinds.get("unfinished", ()) if not live),
    ]
    from_text = _vocabulary_from_text(run.path)
    files = [
        FileFacts(
            kind,
            len(kinds[kind]),
            sum(_size(path) for path in kinds[kind]),
            FROM_TEXT if kind == "vocabulary" and from_text else could_hold,
        )
        for kind, could_hold in COULD_HOLD.items()
        if kind in kinds
    ]
    caches = _caches(cache_folders, record.tasks, pretrained=record.stage == "pretrain")
    return PrivacyReport(
        record.name,
        str(run.path),
        record.access,
        record.mlflow_uri,
        tuple(tasks),
        tuple(files),
        tuple(caches),
        tuple(findings),
    )


def kind_of(folder: Path, path: Path) -> str:
    """The kind of a file in a run directory: a key of ``COULD_HOLD``. Checkpoints have what their manifest lists."""
    name = path.relative_to(folder).as_posix()
    if (path.name.startswith(".") and path.name.endswith(UNFINISHED)) or _ASIDE.fullmatch(name):
        return "unfinished"
    if name in _SETTINGS:
        return "settings"
    if name in _LOGS:
        return "logs"
    if _PREDICTIONS.fullmatch(name):
        return "predictions"
    if _REPORTS.fullmatch(name):
        return "reports"
    if (found := _CHECKPOINT.fullmatch(name)) is None:
        return "unknown"
    if found[2] != MANIFEST and found[2] not in _manifest(folder / "checkpoints" / found[1]):
        return "unknown"
    if found[1] != "best":
        return "optimizer states"
    return "vocabulary" if _VOCABULARY.fullmatch(path.name) else "weights"


def _paths(folder: Path) -> Iterator[Path]:
    """Everything below a folder, sorted; links are not followed."""
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _paths(path)


def _manifest(folder: Path) -> Mapping[str, object]:
    content = _json(folder / MANIFEST)
    return content if isinstance(content, dict) else {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a live run has replaced it
        return 0


def _modes(folder: Path) -> Iterator[Finding]:
    for path in [folder, *_paths(folder)]:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISLNK(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            found = f"mode {stat.S_IMODE(mode):04o}: others than you may use it"
            yield Finding("mode", str(path), found, f"chmod -R go= {folder}")


def _link(folder: Path, path: Path) -> Finding:
    return Finding("link", str(path), "a link, which no run writes", "see where it leads, and remove it")


def _unknown(folder: Path, path: Path) -> Finding:
    inside = path.relative_to(folder).parts
    what = "a file that the checkpoint's manifest does not list" if inside[0] == "checkpoints" else "no file of a run"
    return Finding("unknown file", str(path), what, "see what is in it, and move it where it belongs")


def _unfinished(folder: Path, path: Path) -> Finding:
    return Finding(
        "unfinished", str(path), "left by a process that was killed", "remove it, or resume the run, which does"
    )


def _tasks(folder: Path, tables: list[TaskTable]) -> tuple[list[TaskFacts], list[Finding]]:
    facts, findings = [], []
    for table in tables:
        task = TASKS.get(table.name, table)
        assert task.kind is not None
        total, places = 0, []
        for path in sorted((folder / "predictions").glob(f"*.{table.name}.jsonl")):
            count, first = _named_plainly(path)
            total += count
            places += [] if first is None else [f"{path}:{first}"]
        named: Names = "none stored" if not total else "as in the corpus" if places else "hashed"
        facts.append(TaskFacts(table.name, task.kind.value, task.access.value, total, named))
        if task.access is Access.DUA and places:
            findings.append(
                Finding(
                    "document names",
                    places[0],
                    f"in {len(places)} of its files documents under a use agreement have the corpus' names, no hashes",
                    "if these names identify anybody, leave predictions/ out of what you pass on, or rename the "
                    "documents of the corpus and train again",
                )
            )
    return facts, findings


def _named_plainly(path: Path) -> tuple[int, int | None]:
    """How many predictions a file holds, and the first line that names a document, or an example, by no hash."""
    count, first = 0, None
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            count += 1
            if first is None and not _is_hashed(line):
                first = number
    return count, first


def _is_hashed(line: str) -> bool:
    try:
        content = json.loads(line)
        return is_hashed(content["id"], content.get("document", content["id"][:16]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def _marks(run: RunDirectory, tasks: list[TaskFacts]) -> Iterator[Finding]:
    """Marks of a use agreement that are missing where they have to go on."""
    record, encoder = run.record, run.path / "checkpoints" / "best" / "encoder"
    sealed = [task.task for task in tasks if task.access == Access.DUA.value]
    if record.access == Access.OPEN.value and sealed:
        found = f"access open, and a use agreement holds for {', '.join(sealed)}"
        yield Finding("mark", str(run.path / "run.json"), found, 'write "access": "dua" there')
    if (record.access == Access.DUA.value or sealed) and encoder.is_dir() and not is_marked(str(encoder)):
        yield Finding(
            "mark",
            str(encoder / "config.json"),
            f'no "{ACCESS}": "dua": runs that start from this encoder do not learn of the agreement',
            "treat what starts from it as under the agreement, and set access in their recipes",
        )


def _vocabulary_from_text(folder: Path) -> bool:
    """Whether the tokenizer of the kept encoder was made by a pretraining from scratch: these bear a mark of access."""
    content = _json(folder / "checkpoints" / "best" / "encoder" / "tokenizer_config.json")
    return isinstance(content, dict) and ACCESS in content


def _caches(folders: list[Path], tasks: tuple[str, ...], *, pretrained: bool) -> Iterator[CacheFacts]:
    for folder in folders:
        for part in purge.look(folder).parts:
            of_text = pretrained and part.what in (purge.TEXT, purge.VOCABULARY)
            if of_text or part.task in tasks:
                yield CacheFacts(str(folder), part.what, part.access, part.files, part.bytes)
