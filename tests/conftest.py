"""What all tests share: no settings from outside, a cache of their own, and a BERT small enough to train in seconds."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtscale import offline
from tests.tiny_encoder import write_tiny_encoder

# Models here are tiny, and what trains beside another training with a thread on every core waits for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from mtscale.inputs.encode import PieceVocabulary


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("MTSCALE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path_factory.getbasetemp() / "encoded"))


@pytest.fixture(autouse=True)
def _own_offline_mode() -> Iterator[None]:
    """A command run in this process on data under an agreement keeps it off hubs; the next test may ask them."""
    before = {name: os.environ.get(name) for name in offline.VARIABLES}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if (loaded := sys.modules.get("huggingface_hub.constants")) is not None:
        loaded.HF_HUB_OFFLINE = offline.is_offline()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _own_logger() -> Iterator[None]:
    """A command run in this process sends mtscale's log to the console; the next test finds it as it was."""
    logger = logging.getLogger("mtscale")
    handlers, propagate, level = list(logger.handlers), logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal app reads often enough for a test to wait for it."""
    monkeypatch.setattr("mtscale_tui.app.REFRESH_SECONDS", 0.2)
    monkeypatch.setattr("mtscale_tui.app.SLICE_SECONDS", 0.04)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a BERT of 2 layers and 32 units with a lower-casing tokenizer, its weights drawn from one seed."""
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_vocabulary(tiny_encoder: Path) -> PieceVocabulary:
    """What encoding needs of the tiny encoder's tokenizer."""
    from mtscale.inputs.encode import PieceVocabulary
    from mtscale.model.encoder import load_tokenizer

    tokenizer = load_tokenizer(str(tiny_encoder))
    assert isinstance(tokenizer.cls_token_id, int)
    assert isinstance(tokenizer.sep_token_id, int)
    assert isinstance(tokenizer.unk_token_id, int)
    return PieceVocabulary(
        tokenizer.backend_tokenizer, tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id
    )
