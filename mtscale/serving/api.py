"""The HTTP interface: what is asked, what is answered, and what each status means.

Answers hold ids, offsets, labels and scores, never text, and neither do refusals: what FastAPI would say of a malformed
request repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field

from mtscale import __version__
from mtscale.corpora.lines import Line
from mtscale.errors import ConfigError, DataError
from mtscale.serving.annotate import Annotator
from mtscale.serving.guard import Guard, Limits
from mtscale.serving.meters import Meters
from mtscale.serving.predictor import Predictor
from mtscale.serving.reading import read_object
from mtscale.serving.units import Unit
from mtscale.serving.waiting import ClosedError, FullError, LateError, Waiting
from mtscale.serving.writing import as_json
from mtscale.tasks import Task

# Characters that wait, and those of a batch: a batch is some seconds of work on a CPU.
WAITING_CHARACTERS = 4_000_000
BATCH_CHARACTERS = 20_000
RETRY_SECONDS = "1"

STATUSES: Mapping[int, str] = {
    401: "no token, or another one",
    408: "the request was not whole in time",
    413: "too many bytes or inputs",
    421: "without a token only localhost, 127.0.0.1 and [::1] are answered",
    422: "malformed; the detail says which input and what was expected",
    429: "too much waits; try again after the seconds of Retry-After",
    500: "it could not be answered; the log has the kind of error",
    503: "the server is ending",
    504: "it waited too long",
}


class Asked(BaseModel):
    """Inputs as in JSON lines for ``mtscale predict``: one object each."""

    inputs: list[dict[str, Any]] = Field(
        description="`text` (a document), `sentence1` and `sentence2` (a pair), `sentence` (arguments masked), or "
        "`text` with `start1`, `end1`, `type1`, `start2`, `end2`, `type2` (arguments marked); `id` if wanted",
        min_length=1,
        examples=[[{"id": "1", "text": "Naloxone reverses the antihypertensive effect of clonidine."}]],
    )


class Answered(BaseModel):
    """An object for each input, in their order, as in the ``.predictions.jsonl`` of ``mtscale predict``."""

    predictions: list[dict[str, Any]]


class Service:
    """A predictor that answers requests, batched from those that wait."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits = predictor, limits
        self.meters = Meters()
        self._annotator = Annotator(predictor)
        self._tasks: Mapping[str, Task] = {task.name: task for task in predictor.tasks}
        self.waiting: Waiting[Unit, dict[str, Any]] = Waiting(
            self._answer,
            requests=limits.waiting,
            characters=WAITING_CHARACTERS,
            batch=BATCH_CHARACTERS,
            met=self.meters.batch,
        )

    def units(self, inputs: Sequence[Mapping[str, Any]]) -> list[Unit]:
        """The inputs of a request.

        Raises:
            DataError, ConfigError: one is malformed, or no task reads its kind; nothing of it is in the message.
        """
        units = [
            read_object(Line(Path("inputs"), number, ""), members, {}, _characters(members))
            for number, members in enumerate(inputs, start=1)
        ]
        for unit in units:
            self._annotator.require_heads(unit)
        return units

    def about(self) -> dict[str, Any]:
        """The model, its tasks and the limits."""
        tasks = [
            {"name": one.name, "kind": one.kind, "labels": one.labels, "access": one.access}
            for one in self.predictor.tasks
        ]
        return {"mtscale": __version__, "model": self.predictor.trained.hash, "tasks": tasks, **asdict(self.limits)}

    def _answer(self, units: Sequence[Unit]) -> list[dict[str, Any]]:
        return [as_json(found, self._tasks, str) for found in self._annotator.annotate(units)]


def make_app(service: Service, token: str | None) -> Guard:
    """The whole application; ``token`` None is for a server that only this machine reaches."""
    return Guard(_make_api(service), service.limits, service.meters, token)


def _make_api(service: Service) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.waiting.close, service.limits.seconds)

    # FastAPI's own pages load scripts from elsewhere.
    app = FastAPI(title="mtscale", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        wanted = 'expected JSON {"inputs": [{...}, ...]} with at least one input, and Content-Type: application/json'
        return _refuse(422, f"{wanted}; found something else")

    @app.get("/")
    async def about() -> dict[str, Any]:
        """What is served."""
        return service.about()

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> str:
        return _page(service)

    @app.get("/health", responses={503: {"description": STATUSES[503]}})
    async def health() -> JSONResponse:
        """Whether predictions are answered."""
        alive = service.waiting.open
        return JSONResponse({"status": "ok" if alive else "ending"}, 200 if alive else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Counts and times, as Prometheus reads them."""
        return service.meters.text(len(service.waiting))

    @app.post(
        "/predict",
        response_model=Answered,
        responses={status: {"description": what} for status, what in STATUSES.items()},
    )
    async def predict(asked: Asked) -> JSONResponse:
        """Predict with all tasks that read the inputs."""
        return await _predict(service, asked.inputs)

    return app


async def _predict(service: Service, inputs: Sequence[Mapping[str, Any]]) -> JSONResponse:
    limits = service.limits
    if len(inputs) > limits.max_inputs:
        return _refuse(413, f"expected at most {limits.max_inputs} inputs in a request, found {len(inputs)}")
    try:
        units = service.units(inputs)
        future = service.waiting.submit(units, sum(unit.size for unit in units), limits.seconds)
    except (DataError, ConfigError) as error:
        return _refuse(422, str(error))
    except FullError:
        return _refuse(429, STATUSES[429], {"Retry-After": RETRY_SECONDS})
    except ClosedError:
        return _refuse(503, STATUSES[503])
    try:
        # What is being answered when its time is over is not broken off: the model has one thread.
        answers = await asyncio.wait_for(asyncio.wrap_future(future), 2 * limits.seconds)
    except (LateError, TimeoutError):
        return _refuse(504, f"expected to be begun within {limits.seconds:g} s, too much was before it")
    except Exception as error:
        return _refuse(500, f"could not be answered: {type(error).__name__}")
    return JSONResponse({"predictions": answers})


def _refuse(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": message}, status, headers)


def _characters(members: Mapping[str, Any]) -> int:
    return sum(len(value) for value in members.values() if isinstance(value, str))


def _page(service: Service) -> str:
    """A page about the interface that loads nothing."""
    statuses = "".join(f"<tr><td>{status}<td>{what}" for status, what in STATUSES.items())
    limits = service.limits
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>mtscale</title>"
        "<style>body{font:16px sans-serif;max-width:50em;margin:2em auto}td{padding:.2em 1em .2em 0}</style>"
        f"<h1>mtscale {__version__}</h1><p>POST /predict answers a JSON object of inputs; GET / says which tasks are "
        "served, /health whether they are, /metrics counts, and <a href=/openapi.json>/openapi.json</a> is the whole "
        "description for programs.</p><pre>curl -H 'Content-Type: application/json' \\\n"
        '  -d \'{"inputs": [{"id": "1", "text": "..."}]}\' http://127.0.0.1:8000/predict</pre>'
        f"<p>An input: {Asked.model_fields['inputs'].description}. At most {limits.max_inputs} inputs and "
        f"{limits.max_bytes:,} bytes in a request.</p><table>{statuses}</table></html>"
    )
