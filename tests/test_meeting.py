from __future__ import annotations

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mtscale.errors import ConfigError
from mtscale.training import meeting
from mtscale.training.machine import free_port
from mtscale.training.meeting import meeting_file


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_all_ranks_of_a_start_get_one_private_file_whoever_comes_first() -> None:
    port = free_port()
    with ThreadPoolExecutor(5) as pool:
        others = [pool.submit(meeting_file, rank, 5, port) for rank in (4, 2)]
        paths = [pool.submit(meeting_file, rank, 5, port) for rank in (0, 3, 1)]
        found = {future.result(30) for future in others + paths}
    (path,) = found
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert meeting_file(0, 1, port) != path, "another start, another file"


def test_who_is_no_rank_is_not_counted() -> None:
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meeting_file, 0, 2, port)
        for text in (b"GET / HTTP/1.1\n", b"\xff\n", b""):
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port)) as stranger:
                        stranger.sendall(text)
                    break
                except ConnectionRefusedError:
                    pass
        assert not first.done()
        assert meeting_file(1, 2, port) == first.result(30)


def test_a_rank_that_does_not_come_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_SECONDS", 0.3)
    with pytest.raises(ConfigError, match=r"\[1, 2\] did not come"):
        meeting_file(0, 3, free_port())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="rank 0 of this host"):
        meeting_file(1, 3, free_port())


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="give another"):
        meeting_file(0, 2, taken.getsockname()[1])
