"""`mtscale serve` under load: ``python -m benchmarks.serving [--minutes 10] [--encoder sample]``.

A server of its own process is asked by this one on the same machine. Requests come at random moments (Poisson),
whatever the server does, and are of mixed sizes: single sentences, groups of them, abstracts, pairs. Every answer is
compared with what `mtscale predict` wrote for the same inputs.

    capacity   as many as get answered when 16 clients ask without a pause
    steady     the highest share of that at which a trial turned none away, for the minutes asked for
    burst      four times the steady rate
    kill       SIGKILL under the steady load, and a new server on the same port
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.predict import make_model
from mtscale.corpora import catalogue
from mtscale.corpora.example import PairExample, TaggedExample
from mtscale.tasks import TASKS
from mtscale.training.tables import table

HEADS = ("cdr-disease", "cdr-chemical", "cdr-similarity", "evidence-inference")
REQUESTS = 300
CLIENTS = 16
SHARES = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
CAPACITY_SECONDS, TRIAL_SECONDS, BURST_SECONDS, KILL_SECONDS = 30.0, 30.0, 30.0, 30.0
BURST = 4
# What else is in a batch changes the last digits of a score (six decimals).
TOLERANCE = 2e-6

Inputs = list[dict[str, str]]


@dataclass
class Load:
    """What came back: answers by status (0 the connection broke, -1 there was none), times and sizes in memory."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    memory: list[float] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)
    taken: float = 0.0

    def row(self, name: str) -> list[str]:
        """A line of the table."""
        p50, p99 = np.quantile(self.seconds or [float("nan")], [0.5, 0.99])
        counts = [str(self.statuses[status]) for status in (200, 429, 503, 504, 0, -1)]
        other = sum(self.statuses.values()) - sum(map(int, counts))
        rate = self.statuses[200] / self.taken
        low, high = min(self.memory), max(self.memory)
        times = [f"{1000 * p50:.0f}", f"{1000 * p99:.0f}"]
        return [
            name,
            f"{self.taken:.0f}",
            f"{rate:.1f}",
            *counts,
            str(other),
            str(self.wrong),
            *times,
            f"{low:.0f}-{high:.0f}",
        ]


HEADER = (
    *("phase", "s", "answered/s", "200", "429", "503", "504", "broke", "refused", "other", "wrong"),
    *("p50 ms", "p99 ms", "RssAnon MiB"),
)


class Server:
    """A server process on a port of its own; it can be killed and started again there."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self._model, self._log = model, log
        self.start()

    def start(self) -> None:
        """Start it; it is not waited for."""
        command = [sys.executable, "-m", "mtscale.cli", "serve", "--model", str(self._model), "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """End it as a user does; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(120)

    def memory(self) -> float:
        """MiB of its own."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        return int(status.partition("RssAnon:")[2].split()[0]) / 1024


class Client:
    """Asks one of the prepared requests at a time and checks the answer."""

    def __init__(self, server: Server, requests: Sequence[Inputs], expected: Sequence[Any]) -> None:
        self.server = server
        self._address = f"http://127.0.0.1:{server.port}"
        self._bodies = [json.dumps({"inputs": inputs}).encode() for inputs in requests]
        self._expected = expected
        self._draw = random.Random(1)

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until it answers."""
        while True:
            try:
                async with session.get(f"{self._address}/health") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)

    async def ask(self, session: aiohttp.ClientSession, load: Load) -> None:
        """One request."""
        number = self._draw.randrange(len(self._bodies))
        began = time.perf_counter()
        try:
            headers = {"Content-Type": "application/json"}
            async with session.post(f"{self._address}/predict", data=self._bodies[number], headers=headers) as response:
                content = await response.read()
        except aiohttp.ClientConnectorError:
            load.statuses[-1] += 1
            return
        except (aiohttp.ClientError, ConnectionError):
            load.statuses[0] += 1
            load.broken.append(began)
            return
        load.statuses[response.status] += 1
        if response.status == 200:
            load.seconds.append(time.perf_counter() - began)
            load.wrong += not same(json.loads(content)["predictions"], self._expected[number])

    async def closed(self, session: aiohttp.ClientSession, seconds: float) -> Load:
        """Clients that ask again as soon as they are answered."""
        load = Load()
        end = time.perf_counter() + seconds

        async def one() -> None:
            while time.perf_counter() < end:
                await self.ask(session, load)

        await self._measured(load, asyncio.gather(*(one() for _ in range(CLIENTS))))
        return load

    async def open(self, session: aiohttp.ClientSession, rate: float, seconds: float, kill_at: float = 0.0) -> Load:
        """Requests at random moments, ``rate`` a second; the server is killed and restarted after ``kill_at`` s."""
        load = Load()
        asked: set[asyncio.Task[None]] = set()

        async def all_() -> None:
            began = time.perf_counter()
            moment, killed, in_flight = began, 0.0, 0
            while (moment := moment + self._draw.expovariate(rate)) < began + seconds:
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                if kill_at and not killed and moment > began + kill_at:
                    self.server.kill()
                    killed, in_flight = time.perf_counter(), len(asked)
                    self.server.start()
                asked.add(request := asyncio.create_task(self.ask(session, load)))
                request.add_done_callback(asked.discard)
            await asyncio.gather(*asked)
            if killed:
                before = sum(moment < killed for moment in load.broken)
                print(
                    f"killed with {in_flight} requests in flight; {before} of those asked before it broke", flush=True
                )

        await self._measured(load, asyncio.ensure_future(all_()))
        return load

    async def _measured(self, load: Load, work: asyncio.Future[Any]) -> None:
        began = time.perf_counter()
        while not work.done():
            load.memory.append(self.server.memory())
            await asyncio.wait([work], timeout=1.0)
        load.taken = time.perf_counter() - began
        work.result()


def same(one: Any, other: Any) -> bool:
    """Whether two answers are equal, scores within the tolerance."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def make_requests() -> list[Inputs]:
    """Requests of mixed sizes from the sample's test split, each input with an id of its own."""
    sentences, pairs = list(_texts()), list(_pairs())
    draw = random.Random(1)
    requests: list[Inputs] = []
    for number in range(REQUESTS):
        kind = draw.random()
        if kind < 0.4:
            texts = [draw.choice(sentences)]
        elif kind < 0.6:
            texts = draw.sample(sentences, 8)
        elif kind < 0.85:
            texts = [" ".join(draw.sample(sentences, draw.randint(5, 14)))]
        else:
            texts = []
        inputs = [{"text": text} for text in texts] or [
            {"sentence1": one, "sentence2": other} for one, other in draw.sample(pairs, 4)
        ]
        requests.append([{"id": f"{number}.{place}", **one} for place, one in enumerate(inputs)])
    return requests


def _texts() -> Iterator[str]:
    for example in catalogue.read_examples(TASKS["cdr-disease"], "test", None):
        if isinstance(example, TaggedExample):
            yield example.text


def _pairs() -> Iterator[tuple[str, str]]:
    for example in islice(catalogue.read_examples(TASKS["cdr-similarity"], "test", None), 200):
        if isinstance(example, PairExample):
            yield example.first, example.second


def offline(model: Path, requests: Sequence[Inputs], folder: Path) -> list[Any]:
    """What `mtscale predict` writes for the inputs of each request."""
    given, out = folder / "given.jsonl", folder / "out"
    folder.mkdir()
    given.write_text("".join(json.dumps(one) + "\n" for inputs in requests for one in inputs), encoding="utf-8")
    command = [sys.executable, "-m", "mtscale.cli", "predict", "--model", str(model), "-o", str(out), str(given)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = iter((out / "given.jsonl.predictions.jsonl").read_text(encoding="utf-8").splitlines())
    return [[json.loads(next(lines)) for _ in inputs] for inputs in requests]


async def measure(server: Server, client: Client, minutes: float) -> list[list[str]]:
    """All phases; the lines of the table."""
    rows: list[list[str]] = []

    def show(name: str, load: Load) -> Load:
        rows.append(load.row(name))
        print(table(HEADER, [rows[-1]]), flush=True)
        return load

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
        await client.ready(session)
        await client.closed(session, 3.0)  # warm
        capacity = show("capacity", await client.closed(session, CAPACITY_SECONDS))
        fastest = capacity.statuses[200] / capacity.taken
        for share in SHARES:
            trial = show(f"trial {share}", await client.open(session, share * fastest, TRIAL_SECONDS))
            if trial.statuses.keys() == {200}:
                break
        show(f"steady {share}", await client.open(session, share * fastest, 60 * minutes))
        show(f"burst x{BURST}", await client.open(session, BURST * share * fastest, BURST_SECONDS))
        show("after it", await client.open(session, share * fastest, TRIAL_SECONDS))
        show("kill", await client.open(session, share * fastest, KILL_SECONDS, kill_at=KILL_SECONDS / 3))
        await client.ready(session)
        show("restarted", await client.open(session, share * fastest, TRIAL_SECONDS))
    return rows


def main() -> None:
    """Run the phases and print the table."""
    parser = argparse.ArgumentParser(description="load on mtscale serve")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the steady load")
    parser.add_argument("--encoder", default="sample", help="a name or a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = folder / "model"
        make_model(model, options.encoder, [TASKS[name] for name in HEADS])
        requests = make_requests()
        expected = offline(model, requests, folder / "forwards")
        # Random heads have ties that fall to either side, as the batch is: such requests say nothing.
        backwards = offline(model, requests[::-1], folder / "backwards")[::-1]
        firm = [number for number, found in enumerate(expected) if same(found, backwards[number])]
        print(f"{len(firm)} requests, {len(requests) - len(firm)} left out, whose answers are ties", flush=True)
        server = Server(model, folder / "serve.log")
        client = Client(server, [requests[number] for number in firm], [expected[number] for number in firm])
        try:
            rows = asyncio.run(measure(server, client, options.minutes))
            print(f"\nexit code at SIGTERM: {server.end()}\n\n{table(HEADER, rows)}")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
