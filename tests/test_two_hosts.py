"""Two network namespaces as two machines: the same losses as two ranks on one, and files written once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtscale.runs import State
from mtscale.training.machine import free_port
from tests.lab import SECONDS, TRAIN, Lab, losses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="makes network namespaces"),
]

HOSTS = ("mtscale-a", "mtscale-b")
OPTIONS = ("--set", "encoder.dropout=0.0", "--set", "refine.head_dropout=0.0")
TOLERANCE = 1e-6


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def address(host: int) -> str:
    return f"10.77.0.{host + 1}"


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    """The two namespaces, joined by a pair of interfaces named ``wire``."""
    try:
        for name in HOSTS:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", HOSTS[0], "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", HOSTS[1])
    except subprocess.CalledProcessError:
        for name in HOSTS:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip("network namespaces cannot be made here")
    for number, name in enumerate(HOSTS):
        ip("-n", name, "addr", "add", f"{address(number)}/24", "dev", "wire")
        ip("-n", name, "link", "set", "wire", "up")
    yield
    for name in HOSTS:
        ip("netns", "del", name)


@dataclass(frozen=True)
class Ended:
    code: int
    errors: str


def on_both(lab: Lab, name: str, runs: Path, *, shared: bool = True) -> list[Ended]:
    """Train with a rank on each host; unless shared, the second has a filesystem of its own at the runs folder."""
    (lab.folder / "hosts").write_text("".join(f"{host} slots=1\n" for host in HOSTS), encoding="utf-8")
    port = str(free_port())
    processes = []
    for number, host in enumerate(HOSTS):
        launcher = ["-m", "deepspeed.launcher.runner", "--hostfile", str(lab.folder / "hosts"), "--no_ssh"]
        place = ["--node_rank", str(number), "--master_addr", address(0), "--master_port", port]
        options = ["--ds_config", "cpu-fp32", "--recipe", str(lab.folder / "recipe.toml"), "--run", name]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MTSCALE_", "MLFLOW_"))}
        environment |= {"MTSCALE_CACHE": str(lab.folder / f"cache-{number}"), "DS_ACCELERATOR": "cpu"}
        environment["GLOO_SOCKET_IFNAME"] = "wire"
        # `ip netns exec` makes a mount namespace too.
        own = ["sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(runs)] if number and not shared else []
        program = [sys.executable, *launcher, *place, str(TRAIN), *options, *OPTIONS, "--runs", str(runs)]
        processes.append(
            subprocess.Popen(
                ["ip", "netns", "exec", host, *own, *program],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return [Ended(process.wait(SECONDS), process.communicate()[1]) for process in processes]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("hosts"))
    made.write(tiny_encoder)
    return made


def test_two_hosts_train_as_two_ranks_on_one(hosts: None, lab: Lab) -> None:
    lab.end(lab.start("one-host", *OPTIONS, ranks=2), "one-host")
    ended = on_both(lab, "two-hosts", lab.runs)
    assert [one.code for one in ended] == [0, 0], ended[0].errors + ended[1].errors
    found, expected = lab.run("two-hosts"), lab.run("one-host")
    assert found.state() is State.FINISHED
    assert found.record.world_size == 2
    differences = [abs(one - other) for one, other in zip(losses(found), losses(expected), strict=True)]
    assert max(differences) < TOLERANCE
    written = [event.step for event in found.events() if event.kind == "train"]
    assert written == sorted(set(written)), "a step written twice"


def test_a_runs_folder_that_is_not_shared_is_refused(hosts: None, lab: Lab, tmp_path: Path) -> None:
    ended = on_both(lab, "apart", tmp_path, shared=False)
    assert all(one.code != 0 for one in ended)
    assert any("the runs folder must lie, under the same path, on a filesystem" in one.errors for one in ended)
    assert not any(tmp_path.iterdir())
