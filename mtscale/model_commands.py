"""The commands that use what was trained. What is heavy is imported when one of them runs."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mtscale.errors import EXIT_DATA, EXIT_FINISHED, ConfigError
from mtscale.offline import keep_off_hubs
from mtscale.runs import RunDirectory, find_run
from mtscale.tasks import Access
from mtscale.training import job

if TYPE_CHECKING:
    from mtscale.serving.files import Summary
    from mtscale.serving.outputs import OutputFolder
    from mtscale.serving.predictor import Predictor
    from mtscale.serving.trained import TrainedModel

logger = logging.getLogger("mtscale")

_NEEDED = ("torch", "transformers", "safetensors", "numpy")
_SERVING = ("fastapi", "uvicorn")
_FORMATS = ("text", "pubtator", "brat", "bioc", "conll", "jsonl", "tsv")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    _add_predict(commands)
    _add_export(commands)
    _add_serve(commands)
    _add_encoders(commands)


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    predict = commands.add_parser(
        "predict",
        help="predict on new text with all heads of a model",
        description="Tags texts, relates what it tagged, scores or classifies pairs, into a folder of its own. What "
        "cannot be read is left out and told; the exit code is then 3. The same command goes on where it was cut off.",
    )
    predict.set_defaults(command=_predict)
    predict.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="files, or folders of files")
    predict.add_argument("--output", "-o", required=True, type=Path, metavar="DIR", help="a folder for the predictions")
    _add_model(predict)
    predict.add_argument(
        "--entities",
        choices=("predicted", "given"),
        help="relations between predicted mentions, or those in the input (default: predicted, if anything tags)",
    )
    add_input_options(predict)
    predict.add_argument(
        "--allow-text",
        action="store_true",
        help="for tasks under a data use agreement: write texts and names too, in the format of the inputs",
    )


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how inputs are read."""
    parser.add_argument("--format", choices=_FORMATS, help="of all inputs (default: told by how each begins)")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="tsv, jsonl: which column is sentence1, sentence2, text, sentence, index, ...; conll: token=N",
    )


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = commands.add_parser(
        "export",
        help="write a head as a Hugging Face folder, or the whole model as one that predict loads",
        description="With --task an ordinary folder for transformers, whose pipeline predicts what mtscale does; "
        "without, the encoder with all heads. Both with a model card filled from the run.",
    )
    export.set_defaults(command=_export)
    export.add_argument("run", metavar="RUN", help="id, name or directory")
    export.add_argument("--task", metavar="T", help="one head (default: the whole model)")
    export.add_argument("--output", "-o", required=True, type=Path, metavar="FOLDER", help="a new folder")
    export.add_argument(
        "--allow-dua", action="store_true", help="export what was trained on data under a use agreement"
    )
    add_runs(export)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="answer predictions over HTTP, on this machine alone unless there is a token",
        description="POST /predict, GET /, /docs, /health, /metrics, /openapi.json. No text is logged or answered. "
        "Ctrl-C or SIGTERM: what was accepted is answered first; a second one ends at once.",
    )
    serve.set_defaults(command=_serve)
    _add_model(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="default: 8000; 0 takes any that is free")
    serve.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token that every request must bear (or MTSCALE_TOKEN); needed for any but this machine",
    )
    serve.add_argument("--max-bytes", type=int, default=1_000_000, metavar="N", help="of a request (default: 1000000)")
    serve.add_argument("--max-inputs", type=int, default=256, metavar="N", help="of a request (default: 256)")
    serve.add_argument("--seconds", type=float, default=30.0, metavar="S", help="a request may wait (default: 30)")
    serve.add_argument("--waiting", type=int, default=64, metavar="N", help="requests that may wait (default: 64)")


def _add_encoders(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    encoders = commands.add_parser("encoders", help="encoders of elsewhere").add_subparsers(
        required=True, metavar="WHAT"
    )
    convert = encoders.add_parser(
        "convert",
        help="write the safetensors of an encoder that has its weights as a pickle (.bin) alone",
        description="Reads tensors and nothing else; a pickle that holds other things is refused, and none of it runs.",
    )
    convert.set_defaults(command=_convert)
    convert.add_argument("encoder", metavar="FOLDER|ID", help="a folder, an alias or a hub id")
    convert.add_argument("--output", "-o", required=True, type=Path, metavar="FOLDER", help="a new folder")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="RUN|FOLDER", help="id, name or directory of a run, or an exported model"
    )
    parser.add_argument("--task", action="append", metavar="T", help="use this head (again for others; default: all)")
    add_runs(parser)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """The option that says where the runs are."""
    parser.add_argument("--runs", type=Path, metavar="DIR", help="folder of the runs (default ./runs, or MTSCALE_RUNS)")


def _predict(options: argparse.Namespace) -> int:
    from mtscale.serving.inputs import find_inputs

    columns = given_columns(options.column)
    _refuse_output_among_inputs(options.output, options.inputs)
    inputs = find_inputs(options.inputs, options.format)
    predictor = _predictor(options)
    from mtscale.serving.annotate import Annotator
    from mtscale.serving.files import FilePrediction
    from mtscale.serving.outputs import OutputFolder

    sealed = any(task.access is Access.DUA for task in predictor.tasks)
    annotator = Annotator(predictor, options.entities)
    settings = {
        "model": predictor.trained.hash,
        "tasks": [task.name for task in predictor.tasks],
        "access": "dua" if sealed else "open",
        "entities": annotator.entities,
        "format": options.format,
        "columns": columns,
        "text": options.allow_text or not sealed,
    }
    folder = OutputFolder(options.output, settings, predictor.tasks, text=bool(settings["text"]))
    try:
        summary = FilePrediction(annotator, folder, columns).run(inputs)
    finally:
        folder.close()
    _tell_summary(summary, folder, predictor, sealed=sealed)
    return EXIT_DATA if summary.failures else EXIT_FINISHED


def _tell_summary(summary: Summary, folder: OutputFolder, predictor: Predictor, *, sealed: bool) -> None:
    from mtscale.serving.annotate import MOST_PAIRS

    before = f", {summary.passed_over} done before" if summary.passed_over else ""
    lines = [f"{folder.path}: predictions on {summary.units} units of {summary.inputs} inputs{before}"]
    counts = predictor.counts
    if counts.truncated_examples or counts.sentences_cut:
        lines.append(
            f"longer than an input of {predictor.trained.max_pieces} pieces and cut off: {counts.truncated_examples} "
            f"(in {counts.arguments_cut_off} an argument); sentences cut into sub-sentences: {counts.sentences_cut}"
        )
    if summary.crowded:
        lines.append(
            f"documents with more than {MOST_PAIRS} pairs of mentions in their sentences: {summary.crowded}; the "
            'relation tasks under "crowded" of their predictions looked at none of these'
        )
    if summary.failures:
        lines.append(f"left out, as they could not be read: {summary.failures}; see above, exit code {EXIT_DATA}")
    if sealed and folder.text:
        lines.append(
            f"with --allow-text, {folder.path} now holds text and names under a data use agreement, "
            "readable by you alone"
        )
    elif sealed:
        lines.append("under a data use agreement: no text was written and names were hashed; --allow-text writes both")
    print("\n".join(lines))


def _export(options: argparse.Namespace) -> int:
    run = find_run(job.runs_folder(options.runs), options.run)
    model = load_run(run)
    from mtscale.serving.card import card, sealed_sources
    from mtscale.serving.export import export_model, export_task

    tasks = model.chosen(None if options.task is None else [options.task])
    # The encoder has learnt from all tasks of the run, whichever head is exported.
    sealed = sealed_sources(run.record, model.tasks)
    if sealed and not options.allow_dua:
        raise ConfigError(
            f"{run.path} was trained on data under a use agreement ({', '.join(sealed)}), and weights may hold traces "
            "of it; if the agreement allows to copy them, give --allow-dua"
        )
    longest = model.max_pieces if options.task is None else model.longest(tasks[0])
    text = card(run, model.tasks, tasks, longest, whole=options.task is None)
    if options.task is None:
        export_model(model, options.output, text)
        print(f"{options.output}: the encoder with {len(tasks)} heads; `mtscale predict --model {options.output}`")
    else:
        export_task(model, tasks[0], options.output, text)
        print(f"{options.output}: {options.task} as a folder for transformers; README.md shows its use")
    if sealed:
        print(
            f"with --allow-dua: {options.output} holds what was learnt from {', '.join(sealed)}, readable by you alone"
        )
    return EXIT_FINISHED


def _serve(options: argparse.Namespace) -> int:
    if missing := [name for name in _SERVING if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"serving needs more packages ({', '.join(missing)}): pip install 'mtscale[serve]'")
    from mtscale.serving.guard import Limits

    limits = Limits(options.max_bytes, options.max_inputs, options.seconds, options.waiting)
    if min(limits.max_bytes, limits.max_inputs, limits.seconds, limits.waiting) <= 0:
        raise ConfigError("expected limits above 0 in --max-bytes, --max-inputs, --seconds and --waiting")
    token = _token(options.token_file)
    from mtscale.serving.server import listen, serve

    # Before the model, which takes seconds to load.
    with listen(options.host, options.port, token) as listening:
        predictor = _predictor(options)
        from mtscale.serving.api import Service

        names = ", ".join(task.name for task in predictor.tasks)
        serve(
            Service(predictor, limits),
            listening,
            token,
            lambda address: logger.info("%s serves %s; Ctrl-C ends it", address, names),
        )
    return EXIT_FINISHED


def _convert(options: argparse.Namespace) -> int:
    _prepare()
    from mtscale.model.convert import convert

    tensors = convert(options.encoder, options.output)
    print(f'{options.output}: {tensors} tensors; in a recipe: [encoder] name = "{options.output}"')
    return EXIT_FINISHED


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("MTSCALE_TOKEN") or None
    try:
        return file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"--token-file {file}: expected a readable file with a token in it") from None


def load_run(run: RunDirectory) -> TrainedModel:
    """The model of a run.

    Raises:
        ConfigError: packages are missing, or as ``trained.load_run``.
    """
    _prepare()
    from mtscale.serving import trained

    model = trained.load_run(run)
    keep_off_hubs(model.tasks)
    return model


def _predictor(options: argparse.Namespace) -> Predictor:
    _prepare()
    from mtscale.serving import trained
    from mtscale.serving.predictor import Predictor

    model = trained.load(options.model, job.runs_folder(options.runs))
    keep_off_hubs(model.tasks)
    return Predictor(model, model.chosen(options.task))


def _prepare() -> None:
    """Refuse where packages are missing, and keep a library from looking for a GPU, and saying so, by itself."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"using a model needs more packages ({', '.join(missing)}): pip install 'mtscale[train]'")
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def given_columns(given: list[str]) -> dict[str, str]:
    """The columns of ``--column``, by role.

    Raises:
        ConfigError: one of them is not ROLE=NAME.
    """
    columns: dict[str, str] = {}
    for one in given:
        role, equals, name = one.partition("=")
        if not (role and equals and name):
            raise ConfigError(f"--column {one}: expected ROLE=NAME, e.g. --column sentence1=premise")
        columns[role] = name
    return columns


def _refuse_output_among_inputs(output: Path, inputs: list[Path]) -> None:
    """Outputs among the inputs would be read by the same command when it goes on."""
    folder = output.expanduser().resolve()
    for place in inputs:
        if folder.is_relative_to(place.expanduser().resolve()):
            raise ConfigError(f"{output} is in {place}, which is predicted on; choose another --output")
