"""`mtscale serve` as its users meet it: a server of its own process, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mtscale import cli
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED, ConfigError
from mtscale.runs import RunDirectory
from mtscale.serving.server import is_loopback, listen
from tests.lab import ROOT
from tests.trained import make_trained_run

SECONDS = 120
SECRET = "xylophone"
TOKEN = "a-token-of-some-length"
TASKS = ("cdr-disease", "cdr-chemical", "cdr-relation", "cdr-similarity", "evidence-inference")


@dataclass
class Server:
    """A server under test; ``log`` is what it has written."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, content, {"Content-Type": "application/json", **named})
        response = connection.getresponse()
        answer = response.status, dict(response.getheaders()), response.read()
        connection.close()
        return answer

    def predict(self, *inputs: dict[str, Any], **headers: str) -> Any:
        status, _, content = self.ask("POST", "/predict", {"inputs": inputs}, **headers)
        assert status == 200, content
        return json.loads(content)["predictions"]

    def metric(self, name: str, **headers: str) -> float:
        lines = self.ask("GET", "/metrics", **headers)[2].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@contextmanager
def started(run: RunDirectory, folder: Path, *options: str, **environment: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "mtscale.cli", "serve", "--model", str(run.path), "--port", "0", *options]
    log = folder / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}
        )
    try:
        end = time.monotonic() + SECONDS
        while " serves " not in (text := log.read_text(encoding="utf-8")):
            assert process.poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.05)
        port = int(text.partition(" serves ")[0].rpartition(":")[2])
        yield Server(process, port, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    return make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder)


@pytest.fixture(scope="module")
def server(run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--max-bytes", "20000", "--max-inputs", "20", "--seconds", "3")
    with started(run, tmp_path_factory.mktemp("serve"), *options) as made:
        yield made


def inputs() -> list[dict[str, Any]]:
    """Documents, pairs and marked arguments of different lengths, and none with an id."""
    texts = [" ".join(f"The {SECRET} of naloxone {n}.{part} was seen." for part in range(1 + n % 5)) for n in range(8)]
    documents: list[dict[str, Any]] = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    pairs = [{"sentence1": text, "sentence2": texts[0]} for text in texts[:4]]
    marked = {"text": "naloxone and fever", "start1": 0, "end1": 8, "type1": "Chemical", "start2": 13, "end2": 18}
    return [*documents, *pairs, {**marked, "type2": "Disease"}, {"sentence": "@CHEMICAL$ causes @DISEASE$."}]


def same(one: Any, other: Any) -> bool:
    """Equal, but for the last digit of a score, which can differ with what else is in the batch."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 2e-6
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_answers_are_those_of_predict_however_many_ask_at_once(
    server: Server, run: RunDirectory, tmp_path: Path
) -> None:
    asked = inputs()
    given = tmp_path / "given.jsonl"
    given.write_text("".join(json.dumps(one) + "\n" for one in asked), encoding="utf-8")
    assert cli.main(["predict", "--model", str(run.path), "-o", str(tmp_path / "out"), str(given)]) == EXIT_FINISHED
    lines = (tmp_path / "out" / "given.jsonl.predictions.jsonl").read_text(encoding="utf-8").splitlines()
    expected = list(map(json.loads, lines))
    assert len(expected) == len(asked)
    assert any(one.get("mentions") for one in expected)
    assert same(server.predict(*asked), expected)
    # A request alone counts its inputs anew, so only those with an id of their own are asked by themselves.
    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda n=number: found.__setitem__(n, server.predict(asked[n % 8])))
        for number in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[number], [expected[number % 8]]) for number in range(24))
    assert server.metric("mtscale_batches_total") < server.metric("mtscale_batched_requests_total"), "none together"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"inputs": [{"id": "1"}]}, 422, "inputs:1: expected columns"),
        ({"inputs": [{"text": "a"}, {"text": f" {SECRET}", "start1": SECRET}]}, 200, ""),
        ({"inputs": [{"sentence1": SECRET, "sentence2": 3.5}]}, 422, "inputs:1: expected a text as sentence2"),
        ({"inputs": []}, 422, "with at least one input"),
        ({"texts": [SECRET]}, 422, "expected JSON"),
        ({"inputs": [SECRET]}, 422, "expected JSON"),
        (f'{{"inputs": [{{"text": "{SECRET}'.encode(), 422, "expected JSON"),
        (b'{"inputs": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400, ""),
        (b"\xff\xfe" + SECRET.encode(), 400, ""),
        ({"inputs": [{"text": "a"}] * 21}, 413, "at most 20 inputs"),
        ({"inputs": [{"text": SECRET * 5000}]}, 413, "at most 20000 bytes"),
    ],
)
def test_malformed_requests_are_refused_without_an_echo(server: Server, body: object, status: int, said: str) -> None:
    found, _, content = server.ask("POST", "/predict", body)
    assert found == status, content
    assert said in content.decode()
    assert SECRET not in content.decode()
    assert SECRET not in server.log.read_text(encoding="utf-8")


def test_only_requests_that_name_this_machine_are_answered(server: Server) -> None:
    assert server.ask("GET", "/", Host="elsewhere.example")[0] == 421
    assert server.ask("GET", "/", Host=f"localhost:{server.port}")[0] == 200
    assert server.ask("GET", "/", Host="[::1]:8000")[0] == 200
    assert server.ask("GET", "/", Host="127.0.0.1.elsewhere.example")[0] == 421


def test_the_pages_say_what_is_served_and_load_nothing(server: Server) -> None:
    about = json.loads(server.ask("GET", "/")[2])
    assert tuple(task["name"] for task in about["tasks"]) == TASKS
    assert about["max_inputs"] == 20
    assert json.loads(server.ask("GET", "/health")[2]) == {"status": "ok"}
    schema = json.loads(server.ask("GET", "/openapi.json")[2])
    assert {"401", "413", "421", "422", "429", "503", "504"} <= schema["paths"]["/predict"]["post"]["responses"].keys()
    status, headers, page = server.ask("GET", "/docs")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert b"<script" not in page
    assert b"src=" not in page
    assert server.ask("GET", f"/{SECRET}?q={SECRET}")[0] == 404
    until = time.monotonic() + SECONDS
    while "GET other 404 " not in server.log.read_text(encoding="utf-8"):  # written once it is answered
        assert time.monotonic() < until
        time.sleep(0.05)
    assert SECRET not in server.log.read_text(encoding="utf-8")
    assert server.metric('mtscale_requests_total{route="other",status="404"}') >= 1


def test_a_body_that_does_not_come_is_not_waited_for(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_a_request_is_closed(server: Server) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as silent,
        socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as slow,
    ):
        slow.settimeout(0.2)
        end, closed = time.monotonic() + SECONDS, False
        while not closed and time.monotonic() < end:
            try:
                slow.sendall(b"P")
                closed = slow.recv(100) == b""
            except TimeoutError:
                pass
            except ConnectionError:
                closed = True
        assert closed
        assert silent.recv(100) == b""


@pytest.mark.slow
def test_a_token_is_asked_for(run: RunDirectory, tmp_path: Path) -> None:
    given = tmp_path / "token"
    given.write_text(TOKEN + "\n", encoding="utf-8")
    with started(run, tmp_path, "--host", "0.0.0.0", "--token-file", str(given)) as server:
        for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": TOKEN}):
            status, answered, _ = server.ask("POST", "/predict", {"inputs": [{"text": "a"}]}, **headers)
            assert (status, answered["www-authenticate"]) == (401, "Bearer")
        assert server.predict({"text": "a"}, Authorization=f"Bearer {TOKEN}")[0]["document"] == "1"
        assert server.ask("GET", "/health")[0] == 200
        assert server.ask("GET", "/metrics")[0] == 401
        assert TOKEN not in server.log.read_text(encoding="utf-8")


def test_other_addresses_need_a_token(capsys: pytest.CaptureFixture[str], run: RunDirectory) -> None:
    assert is_loopback("127.0.0.1")
    assert not is_loopback("0.0.0.0")
    assert cli.main(["serve", "--model", str(run.path), "--host", "0.0.0.0"]) == EXIT_REFUSED
    assert "--token-file" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="at least 16"):
        listen("127.0.0.1", 0, "short")
    with listen("127.0.0.1", 0, None) as taken, pytest.raises(ConfigError, match="cannot listen at "):
        listen("127.0.0.1", taken.getsockname()[1], None)
    assert cli.main(["serve", "--model", str(run.path), "--seconds", "0"]) == EXIT_REFUSED


LONG = [{"text": " ".join(f"A long sentence {number} about naloxone and fever." for number in range(400))}] * 20


def ask_in_background(server: Server, count: int, inputs_: list[dict[str, Any]]) -> tuple[list[Any], list[int]]:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(server.ask("POST", "/predict", {"inputs": inputs_})[0]))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads, found


@pytest.mark.slow
def test_too_many_requests_are_turned_away(run: RunDirectory, tmp_path: Path) -> None:
    with started(run, tmp_path, "--waiting", "2") as server:
        threads, found = ask_in_background(server, 12, LONG[:5])
        for thread in threads:
            thread.join()
        assert set(found) == {200, 429}
        assert server.ask("POST", "/predict", {"inputs": LONG[:1]})[0] == 200


@pytest.mark.slow
def test_requests_that_wait_too_long_are_told(run: RunDirectory, tmp_path: Path) -> None:
    with started(run, tmp_path, "--seconds", "0.3") as server:
        threads, found = ask_in_background(server, 6, LONG)
        for thread in threads:
            thread.join()
        assert 504 in found
        assert set(found) <= {200, 504}
        end = time.monotonic() + SECONDS
        while server.ask("POST", "/predict", {"inputs": [{"text": "a"}]})[0] != 200:  # the last batch is still at work
            assert time.monotonic() < end


def test_what_was_accepted_is_answered_before_the_end(run: RunDirectory, tmp_path: Path) -> None:
    with started(run, tmp_path) as server:
        threads, found = ask_in_background(server, 3, LONG[:5])
        end = time.monotonic() + SECONDS
        while server.metric("mtscale_batches_total") < 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == EXIT_FINISHED
        for thread in threads:
            thread.join()
        assert found == [200, 200, 200]
        log = server.log.read_text(encoding="utf-8")
        assert "naloxone" not in log
        assert "Traceback" not in log


@pytest.mark.slow
def test_a_second_interrupt_ends_at_once(run: RunDirectory, tmp_path: Path) -> None:
    with started(run, tmp_path, "--seconds", "60") as server:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1.5)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == EXIT_FINISHED
        connection.close()
