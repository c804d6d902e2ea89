"""Where only the loopback interface is up, everything works; there and on the way there nothing else is tried."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.errors import EXIT_FINISHED
from tests.lab import ROOT, SECONDS

WATCHED = Path(__file__).with_name("watched")
ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
body = json.dumps({"inputs": [{"text": "Naloxone and tremor."}]})
connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
print(connection.getresponse().status)
"""
SERVE = """
"$0" -m mtscale.cli serve --model "$1" --port 0 >"$2" 2>&1 &
for _ in $(seq 600); do grep -q " serves " "$2" && break; sleep 0.2; done
"$0" -c "$3" "$(sed -n 's/.*:\\([0-9]*\\) serves .*/\\1/p' "$2")"
kill $!; wait
"""


def _possible() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Alone:
    """Runs programs in a network namespace of its own each, and gathers what addresses they try."""

    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def run(self, *command: str | Path) -> str:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MTSCALE_", "MLFLOW_", "HF_"))
        }
        path = os.pathsep.join([str(WATCHED), os.environ.get("PYTHONPATH", str(ROOT))])
        places = {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONPATH": path}
        environment = {**kept, **places, "DS_ACCELERATOR": "cpu", "WATCHED": str(self.folder / "tried")}
        # What is no Python is seen by its system calls alone.
        traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect", "-A", "-o", str(self.folder / "calls")]
        tracer = traced if shutil.which("strace") else []
        done = subprocess.run(
            [*ALONE, *tracer, *map(str, command)],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=2 * SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == EXIT_FINISHED, done.stdout + done.stderr
        return done.stdout

    def mtscale(self, *arguments: str | Path) -> str:
        return self.run(sys.executable, "-m", "mtscale.cli", *arguments)

    def tried(self) -> list[str]:
        """The addresses and names that programs wanted."""
        wanted = []
        path = self.folder / "tried"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            _, address, _ = json.loads(line)
            wanted.append(str(address[0]) if isinstance(address, list) else str(address))
        calls = self.folder / "calls"
        text = calls.read_text(encoding="utf-8", errors="replace") if calls.exists() else ""
        four = r'sin_port=htons\([0-9]+\), sin_addr=inet_addr\("([^"]+)"\)'
        six = r'sin6_port=htons\([0-9]+\).*inet_pton\(AF_INET6, "([^"]+)"'
        wanted += re.findall(four, text) + re.findall(six, text)
        return wanted


def is_here(address: str) -> bool:
    """Whether an address is of this host alone: loopback, its own name, none, or a path of a Unix socket."""
    if address in {"None", "", "localhost", socket.gethostname()} or address.startswith(("/", "b'")):
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback or found.is_unspecified


def test_what_is_here_is_told_from_what_is_not() -> None:
    assert all(map(is_here, ("127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "localhost", "/run/x", "None")))
    assert not any(map(is_here, ("10.77.0.1", "huggingface.co", "2001:db8::1", "::ffff:8.8.8.8")))


def test_everything_works_on_loopback_alone(tmp_path: Path, tiny_encoder: Path) -> None:
    if not _possible():
        pytest.skip("network namespaces cannot be made here")
    alone = Alone(tmp_path)
    probe = "import socket; socket.create_connection(('192.0.2.1', 9), 1)"
    with pytest.raises(AssertionError, match="unreachable"):
        alone.run(sys.executable, "-c", probe)
    assert not all(map(is_here, alone.tried())), "what is tried is seen"
    (tmp_path / "tried").unlink()
    (tmp_path / "calls").unlink(missing_ok=True)

    settings = [f'encoder.name="{tiny_encoder}"', "encoder.max_pieces=96", "refine.epochs=1"]
    options = [word for setting in settings for word in ("--set", setting)]
    training = ["train", "--recipe", "sample", "--ds_config", "cpu-fp32", "--runs", alone.runs]
    alone.mtscale("train", "--recipe", "sample", "--runs", alone.runs, "--dry-run")
    alone.mtscale(*training, "--run", "two", *options, "--num_gpus", "2")
    run = alone.runs / "two"
    texts = SAMPLE_FOLDER / "cdr" / "test.pubtator.txt"
    alone.mtscale("predict", "--model", run, "-o", tmp_path / "predicted", texts)
    alone.mtscale("export", run, "-o", tmp_path / "exported")
    alone.mtscale("export", run, "--task", "cdr-disease", "-o", tmp_path / "plain")
    asked = alone.run("bash", "-c", SERVE, sys.executable, run, tmp_path / "served", ASK)
    assert asked.split()[0] == "200", (tmp_path / "served").read_text()
    assert "two" in alone.run(sys.executable, "-m", "mtscale_tui.app", "--runs", alone.runs, "--once")
    elsewhere = sorted({address for address in alone.tried() if not is_here(address)})
    assert elsewhere == []
