"""The command ``mtscale privacy``: what of the data could be in a run directory, and who could read it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from mtscale import recipe
from mtscale.analysis_commands import command_options, recipe_folder
from mtscale.corpora import catalogue
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, ConfigError
from mtscale.inputs.private import BESIDE
from mtscale.inputs.purge import own_folder
from mtscale.markup import printable
from mtscale.model_commands import add_runs
from mtscale.runs import RunDirectory, RunRecord, find_run
from mtscale.serving.privacy import Finding, PrivacyReport, examine
from mtscale.tasks import Access
from mtscale.training import job
from mtscale.training.tables import table

_SHOWN = 5


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    privacy = commands.add_parser(
        "privacy",
        help="what of the data could be in a run directory, and who could read it",
        description="Its files by kind with what they could hold, whether documents are named by hashes, where text "
        "is encoded, and findings: modes that let others in, files that no run writes, missing marks. Prints no id and "
        f"no text. Exit code {EXIT_DATA} if there are findings. What was predicted or exported elsewhere is not known.",
    )
    privacy.add_argument("run", metavar="RUN", help="id, name or directory")
    privacy.add_argument("--data", metavar="DIR", help="folder of the corpora (default: as the run's command had it)")
    privacy.add_argument("--json", action="store_true", help="print JSON")
    add_runs(privacy)
    privacy.set_defaults(command=_privacy)


def _privacy(options: argparse.Namespace) -> int:
    run = find_run(job.runs_folder(options.runs), options.run)
    try:
        report = examine(run, _cache_folders(run, options.data))
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from None
    print(json.dumps(asdict(report), indent=2) if options.json else _text(report))
    return EXIT_DATA if report.findings else EXIT_FINISHED


def _cache_folders(run: RunDirectory, data: str | None) -> list[Path]:
    """Where what the run has read may lie encoded: in the user's cache, at data root and recipe, beside its corpora."""
    loaded, record = recipe.load(run.path / "recipe.toml"), run.record
    root = catalogue.data_folder(data or _data_of(record), loaded.data_root)
    beside = _recipe_folder(record)
    places = [one for one in (root, beside) if one is not None]
    for one in loaded.tasks:
        task = one.resolve(root, beside or run.path)
        if one.name in record.tasks and not task.packaged and (root is not None or Path(task.corpus).is_absolute()):
            places.append(catalogue.corpus_folder(task, root))
    return [folder for folder in dict.fromkeys([own_folder(), *(one / BESIDE for one in places)]) if folder.is_dir()]


def _data_of(record: RunRecord) -> Path | None:
    given: Path | None = command_options(record).data
    return None if given is None else Path(record.directory) / given.expanduser()


def _recipe_folder(record: RunRecord) -> Path | None:
    try:
        return recipe_folder(record)
    except ConfigError:  # moved since; what lies encoded beside it is not known here
        return None


def _text(report: PrivacyReport) -> str:
    under = "under a data use agreement" if report.access == Access.DUA.value else report.access
    parts = [
        f"{report.run}: {report.directory}\naccess: {under}; mirror: {printable(report.mirror or 'none')}",
        table(
            ["task", "kind", "access", "stored predictions", "names of documents"],
            [[one.task, one.kind, one.access, f"{one.predictions:,}", one.documents] for one in report.tasks],
        ),
        table(
            ["files", "number", "MiB"],
            [[one.kind, f"{one.files:,}", f"{one.bytes / 2**20:.2f}"] for one in report.files],
        ),
        "\n".join(["could hold of the data:", *(f"* {one.kind}: {one.could_hold}" for one in report.files)]),
    ]
    if report.caches:
        rows = [
            [printable(one.folder), one.what, one.access or "", f"{one.files:,}", f"{one.bytes / 2**20:.2f}"]
            for one in report.caches
        ]
        cached = table(["encoded text in", "of", "access", "files", "MiB"], rows)
        parts.append(f"{cached}\n`mtscale corpora purge` removes it.")
    return "\n\n".join([*parts, _findings(report.findings)])


def _findings(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return "no findings"
    lines = [f"findings: {len(findings)}"]
    for kind, group in groupby(sorted(findings, key=lambda one: one.kind), key=lambda one: one.kind):
        found = list(group)
        for one in found[:_SHOWN]:
            lines += [f"* {kind}: {printable(one.where)}", f"    {printable(one.found)}", f"    {printable(one.do)}"]
        if len(found) > _SHOWN:
            lines.append(f"* {kind}: {len(found) - _SHOWN} more; --json has all")
    return "\n".join(lines)
