"""MLflow as a mirror of the run directory.

All of MLflow happens in a thread of its own: importing it takes seconds, and a locked or distant store may take
minutes, while ``log`` only appends to a list. What could not be sent is tried again, and what never arrives can be
replayed from the run directory, because a (name, step) that MLflow has is not sent again.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mtscale import names
from mtscale.errors import ConfigError
from mtscale.runs import Event, RunRecord, State
from mtscale.tracking.tracker import Param

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

SEND_EVERY_SECONDS = 2.0
CLOSE_SECONDS = 30.0
RETRY_SECONDS = 0.5
MAX_PARAMS = 40  # more drown MLflow's page for comparing runs
MAX_PARAM_LENGTH = 6000  # MLflow's own limit
MAX_BATCH = 1000  # MLflow's own limit

# MLflow has no word for a run that was asked to stop other than killed.
FINAL_STATUS: Mapping[State, str] = {
    State.FINISHED: "FINISHED",
    State.FAILED: "FAILED",
    State.STOPPED: "KILLED",
    State.LOST: "FAILED",
}


def tracking_uri(runs: Path) -> str:
    """The address of the MLflow store: ``MLFLOW_TRACKING_URI``, or the SQLite file beside the runs.

    Raises:
        ConfigError: the address is a folder (``file:`` or a plain path), which MLflow >= 3.13 refuses.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs.resolve()}/mlflow.db"
    if urlsplit(uri).scheme in {"", "file"} and uri != "databricks":
        raise ConfigError(
            f"MLFLOW_TRACKING_URI must be a database or a server, found the folder {uri!r}, which MLflow no longer "
            "writes to. Unset it to use SQLite beside the runs, or give sqlite:////absolute/path/mlflow.db or http://..."
        )
    return uri


class MlflowMirror:
    """Mirrors one run into MLflow, from a background thread.

    ``on_run_id(run_id, uri)`` is called from that thread as soon as the MLflow run exists, so that the caller can
    write both into ``run.json``; a resumed run then goes on in the same MLflow run. A password in the address is
    left out of ``uri``. ``complete`` says, after ``close``, whether everything has arrived.
    """

    def __init__(self, runs: Path, on_run_id: Callable[[str, str], None]) -> None:
        """Raises ConfigError if ``MLFLOW_TRACKING_URI`` cannot be used."""
        self._store = _Store(tracking_uri(runs), runs)
        self._on_run_id = on_run_id
        self._run: _MlflowRun | None = None
        self._name = ""
        self._params: Mapping[str, Param] = {}
        self._events: list[Event] = []
        self._artifacts: list[tuple[Path, str]] = []
        self._final: State | None = None
        self._deadline = 0.0
        self._closing = threading.Event()
        self.complete = False
        self._warned = False
        self._thread: threading.Thread | None = None

    def start(self, record: RunRecord, params: Mapping[str, Param], tags: Mapping[str, str]) -> None:
        """Start the thread, which finds the run's MLflow run or creates it.

        Raises:
            ValueError: there are more than 40 params; what is not worth comparing belongs in an artifact.
        """
        if len(params) > MAX_PARAMS:
            raise ValueError(f"expected at most {MAX_PARAMS} params, found {len(params)}")
        self._name, self._params = record.name, params
        self._thread = threading.Thread(target=self._work, args=(record, tags), name="mlflow", daemon=True)
        self._thread.start()

    def log(self, event: Event) -> None:
        """Queue the values of an event."""
        self._events.append(event)

    def artifact(self, path: Path, folder: str) -> None:
        """Queue a file; one that MLflow refuses is not tried again."""
        self._artifacts.append((path, folder))

    def close(self, state: State) -> None:
        """Send what is queued and the final status, for at most 30 seconds."""
        if self._thread is None:
            return
        self._final = state
        self._deadline = time.monotonic() + CLOSE_SECONDS
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)
        if not self.complete:
            self._warn(f"not done within {CLOSE_SECONDS:.0f} seconds")

    def _work(self, record: RunRecord, tags: Mapping[str, str]) -> None:
        self._send(record, tags)
        while not self._closing.wait(SEND_EVERY_SECONDS):
            self._send(record, tags)
        while not self._send(record, tags) and time.monotonic() < self._deadline:
            time.sleep(RETRY_SECONDS)

    def _send(self, record: RunRecord, tags: Mapping[str, str]) -> bool:
        """Send all that waits. On a failure the rest goes on waiting, and the answer is False."""
        try:
            if self._run is None:
                with self._store.locked():
                    self._run = self._store.find(record) or self._store.create(record, tags)
                self._on_run_id(self._run.id, self._store.public_uri)
            if self._params:
                self._run.log_params(self._params)
                self._params = {}
            # The training thread may append meanwhile: only what was copied is sent and taken away.
            events = self._events[:]
            self._run.log(events)
            del self._events[: len(events)]
            while self._artifacts:
                self._run.log_artifact(*self._artifacts.pop(0))
            if self._final is not None:
                self._run.finish(self._final)
                self.complete = True
        except Exception as error:
            cause = _root(error)
            self._warn(str(cause) or repr(cause))
            return False
        return True

    def _warn(self, problem: str) -> None:
        if not self._warned:
            first_line = self._store.without_password(problem).splitlines()[0][:200]
            logger.warning(
                "MLflow at %s is behind (%s): training goes on, all numbers are in the run directory, and "
                "`mtscale runs sync %s` shows them there later",
                self._store.public_uri,
                first_line,
                self._name,
            )
        self._warned = True


def _root(error: BaseException) -> BaseException:
    """The error that began it: what MLflow and SQLAlchemy put around it hides which file or host is the matter."""
    while (before := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = before
    return error


class _Store:
    """The MLflow store and the experiment in it, opened when first needed. Raises what MLflow raises."""

    def __init__(self, uri: str, runs: Path) -> None:
        self._uri = uri
        self._runs = runs.resolve()
        self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "mtscale"
        self._opened: MlflowClient | None = None

    @property
    def public_uri(self) -> str:
        """The address without a password."""
        return self.without_password(self._uri)

    def without_password(self, text: str) -> str:
        """A text that may quote the address, fit to be stored or shown."""
        password = urlsplit(self._uri).password
        return text.replace(f":{password}@", "@") if password else text

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs of this folder out: two that create the same SQLite store at once break its tables."""
        folder = os.open(self._runs, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            # Closing alone would leave the lock with a worker process forked meanwhile.
            fcntl.flock(folder, fcntl.LOCK_UN)
            os.close(folder)

    def find(self, record: RunRecord) -> _MlflowRun | None:
        """The MLflow run of a resumed run, running again; None if this store has none."""
        client = self._client()
        run_id = self._known(client, record)
        if run_id is None:
            return None
        last_step = {
            name: max(point.step for point in client.get_metric_history(run_id, name))
            for name in client.get_run(run_id).data.metrics
        }
        client.update_run(run_id, status="RUNNING")
        return _MlflowRun(client, run_id, last_step)

    def _known(self, client: MlflowClient, record: RunRecord) -> str | None:
        """The id in this store of a run that ``run.json`` names, or that was killed before its id came there."""
        from mlflow.exceptions import MlflowException

        if record.mlflow_run_id is not None:
            try:
                return str(client.get_run(record.mlflow_run_id).info.run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return None
        found = client.search_runs([experiment.experiment_id], f"tags.`mtscale.id` = '{record.id}'", max_results=1)
        return str(found[0].info.run_id) if found else None

    def create(self, record: RunRecord, tags: Mapping[str, str]) -> _MlflowRun:
        """A new MLflow run, and the experiment if it is the first."""
        client = self._client()
        run = client.create_run(
            self._experiment_id(client), round(record.created * 1000), dict(tags), run_name=record.name
        )
        return _MlflowRun(client, run.info.run_id, {})

    def _client(self) -> MlflowClient:
        if self._opened is None:
            os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
            # The mirror itself tries again, and says at the first failure what is wrong.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            # MLflow announces on the terminal that it creates its tables, and every failure with its whole traceback.
            os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
            # Raised inside MLflow 3.17 by SQLAlchemy 2.1.
            warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning)
            from mlflow import MlflowClient

            path = Path(self._uri.removeprefix("sqlite:///"))
            if path.is_absolute() and path.parent.is_dir() and not path.exists():
                # A process killed while MLflow makes its tables leaves a store that MLflow refuses ever after.
                aside = path.with_name(f".{path.name}.{os.getpid()}")
                MlflowClient(f"sqlite:///{aside}").search_experiments(max_results=1)
                aside.rename(path)
            self._opened = MlflowClient(self._uri)
        return self._opened

    def _experiment_id(self, client: MlflowClient) -> str:
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            # A server decides itself where artifacts go. Without a location, MLflow would take the current folder.
            local = not self._uri.startswith(("http", "databricks"))
            return client.create_experiment(
                self._experiment,
                (self._runs / "mlflow-artifacts").as_uri() if local else None,
                tags={"mlflow.experiment.primaryMetric.name": names.macro("dev")},
            )
        return str(experiment.experiment_id)


class _MlflowRun:
    """One MLflow run. ``last_step`` holds, per name, the highest step that MLflow has."""

    def __init__(self, client: MlflowClient, run_id: str, last_step: Mapping[str, int]) -> None:
        self._client = client
        self._last_step = dict(last_step)
        self._last_time: int | None = None
        self.id = run_id

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Log the params that the run does not have: MLflow refuses to change one."""
        from mlflow.entities import Param as MlflowParam

        known = self._client.get_run(self.id).data.params
        new = [MlflowParam(key, str(value)[:MAX_PARAM_LENGTH]) for key, value in params.items() if key not in known]
        self._client.log_batch(self.id, params=new, synchronous=True)

    def log(self, events: Sequence[Event]) -> None:
        """Log the values whose step is new for their name: each name's steps only grow."""
        from mlflow.entities import Metric

        last_step = dict(self._last_step)
        points: list[Metric] = []
        for event in events:
            milliseconds = round(event.time * 1000)
            self._last_time = milliseconds
            for name, value in event.values.items():
                if event.step > last_step.get(name, -1):
                    last_step[name] = event.step
                    points.append(Metric(name, value, milliseconds, event.step))
        for start in range(0, len(points), MAX_BATCH):
            batch = points[start : start + MAX_BATCH]
            self._client.log_batch(self.id, metrics=batch, synchronous=True)
            self._last_step.update({point.key: point.step for point in batch})

    def log_artifact(self, path: Path, folder: str) -> None:
        """Copy a file into the run's artifacts."""
        self._client.log_artifact(self.id, str(path), folder or None)

    def finish(self, state: State) -> None:
        """Set the final status; the run ends with its last event, also when it is replayed much later."""
        self._client.set_terminated(self.id, FINAL_STATUS[state], self._last_time)
