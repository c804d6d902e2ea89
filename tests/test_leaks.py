"""The scanner for leaks finds what was put into a file on purpose, in every form that a file could hold it."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save_file
from transformers import AutoTokenizer

from tests.canary import COUNT, canaries
from tests.leaks import Scanner

WORD = canaries()[500]


@pytest.fixture(scope="module")
def pieces(tiny_encoder: Path) -> Callable[[str], list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    return lambda word: tokenizer(word, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def scanner(pieces: Callable[[str], list[int]]) -> Scanner:
    return Scanner(canaries(), pieces)


def packed(make: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    make(stream)
    return stream.getvalue()


def in_zip(stream: io.BytesIO) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", gzip.compress(f"<p>{WORD}</p>".encode()))


def in_tar(stream: io.BytesIO) -> None:
    with tarfile.open(fileobj=stream, mode="w") as archive:
        content = gzip.compress(WORD.encode())
        member = tarfile.TarInfo("x.gz")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def in_parquet(stream: io.BytesIO) -> None:
    parquet.write_table(pa.table({"text": [f"so {WORD}"] * 3}), stream, compression="zstd")


TEXTS: dict[str, Callable[[], bytes]] = {
    "utf-8": lambda: f"a text with {WORD} in it".encode(),
    "capitals": lambda: WORD.upper().encode(),
    "utf-16": lambda: WORD.encode("utf-16"),
    "utf-32": lambda: WORD.encode("utf-32-be"),
    "json": lambda: json.dumps({"text": WORD}).encode(),
    "a list of characters": lambda: json.dumps(list(WORD)).encode(),
    "word pieces": lambda: " ##".join(WORD).encode(),
    "broken by a terminal": lambda: f"\x1b[31m{WORD[:5]}\x1b[0m\r\n│ {WORD[5:]}".encode(),
    "beside other letters": lambda: f"mtx{WORD}kd".encode(),
    "a zip with a gz in it": lambda: packed(in_zip),
    "a tar with a gz in it": lambda: packed(in_tar),
    "parquet": lambda: packed(in_parquet),
}


@pytest.mark.parametrize("form", TEXTS)
def test_a_text_is_found(scanner: Scanner, form: str) -> None:
    assert {leak.word for leak in scanner.content("here", TEXTS[form]())} == {WORD}
    assert {leak.how for leak in scanner.content("here", TEXTS[form]())} == {"text"}


def array(width: str) -> Callable[[list[int]], bytes]:
    # Not at the beginning, and at no multiple of its width.
    return lambda ids: b"xyz" + np.array([7, 7, *ids, 7], dtype=width).tobytes()


def arrow(options: pa.ipc.IpcWriteOptions, open_as: Callable[..., object]) -> Callable[[list[int]], bytes]:
    def make(ids: list[int]) -> bytes:
        table = pa.table({"input_ids": [[2, *ids, 3]] * 50})

        def write(stream: io.BytesIO) -> None:
            with open_as(stream, table.schema, options=options) as writer:  # type: ignore[attr-defined]
                writer.write_table(table)

        return packed(write)

    return make


ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")
PIECES: dict[str, Callable[[list[int]], bytes]] = {
    **{f"array of {width}": array(width) for width in ("<i1", "<i2", "<i4", "<i8")},
    "json": lambda ids: json.dumps({"ids": ids}).encode(),
    "pickle": lambda ids: pickle.dumps({"ids": ids}),
    "npz": lambda ids: packed(lambda stream: np.savez_compressed(stream, np.array(ids))),
    "checkpoint": lambda ids: packed(lambda stream: torch.save({"batch": torch.tensor([[2, *ids, 3]])}, stream)),
    "checkpoint's own list": lambda ids: packed(lambda stream: torch.save({"batch": ids}, stream)),
    "arrow": arrow(ZSTD, pa.ipc.new_file),
    "arrow stream": arrow(ZSTD, pa.ipc.new_stream),
}


@pytest.mark.parametrize("form", PIECES)
def test_word_pieces_are_found(scanner: Scanner, pieces: Callable[[str], list[int]], form: str) -> None:
    assert {(leak.word, leak.how) for leak in scanner.content("here", PIECES[form](pieces(WORD)))} == {
        (WORD, "word pieces")
    }


def test_files_that_are_no_single_bytes_are_looked_into(
    scanner: Scanner, pieces: Callable[[str], list[int]], tmp_path: Path
) -> None:
    save_file({"ids": torch.tensor(pieces(WORD), dtype=torch.int32)}, tmp_path / "w.safetensors")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("CREATE TABLE params (value TEXT)")
        store.execute("INSERT INTO params VALUES (?)", ["." * 4090 + WORD + "." * 9000])
        store.commit()
    (tmp_path / f"{WORD}.txt").touch()
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "text").write_text(WORD)
    found = {
        (Path(leak.place.split(": ")[0]).name, leak.how) for leak in scanner.files(tmp_path, [tmp_path / "allowed"])
    }
    assert found >= {("w.safetensors", "word pieces"), ("mlflow.db", "text")}
    assert any(leak.place.startswith("name of ") for leak in scanner.files(tmp_path))
    assert not any("allowed" in leak.place for leak in scanner.files(tmp_path, [tmp_path / "allowed"]))


def test_what_only_resembles_a_word_is_no_leak(scanner: Scanner, pieces: Callable[[str], list[int]]) -> None:
    assert len(set(canaries())) == COUNT
    ids = pieces(WORD)
    content = WORD[:-1].encode() + b"a" + np.array([*ids[:-1], 0, *ids[1:]], dtype="<i4").tobytes()
    noise = np.random.default_rng(1).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes()
    assert scanner.content("here", content) == scanner.content("noise", noise) == []
