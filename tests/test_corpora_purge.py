"""`mtscale corpora purge`: what is ours and not in use is removed, and nothing else."""

from __future__ import annotations

import gc
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mtscale import recipe
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED
from mtscale.inputs.cache import open_split
from mtscale.inputs.encode import PieceVocabulary
from mtscale.inputs.private import BESIDE, TAG, is_cache
from mtscale.pretraining.sources import find_files
from mtscale.pretraining.text import open_text
from mtscale.tasks import TASKS, Access
from tests.corpora_command import Command, command

__all__ = ["command"]  # a fixture

WARD = replace(TASKS["cdr-similarity"], name="ward", corpus="notes", packaged=False, access=Access.DUA)
OPEN = replace(TASKS["cdr-similarity"], name="open", corpus="notes", packaged=False)


@pytest.fixture
def data_root(
    tmp_path: Path, tiny_vocabulary: PieceVocabulary, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A data root with a corpus whose splits are encoded, and text to pretrain on; a sample's split in the cache."""
    monkeypatch.delenv("MTSCALE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    root = tmp_path / "data"
    (root / "notes").mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (root / "notes" / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tscore\na\tthe rat\ta rat\t4.5\n")
    for task in (WARD, OPEN):
        open_split(task, "train", root, tiny_vocabulary, 64)
    open_split(WARD, "test", root, tiny_vocabulary, 64)
    open_split(TASKS["cdr-similarity"], "dev", None, tiny_vocabulary, 64)
    (root / "text.txt").write_bytes((SAMPLE_FOLDER / "cdr" / "dev.pubtator.txt").read_bytes())
    (tmp_path / "recipe.toml").write_text(
        f'name = "text"\nstages = ["pretrain"]\n[encoder]\nname = "{tiny_encoder}"\nmax_pieces = 64\n'
        '[pretrain]\nfiles = ["text.txt"]\nformat = "pubtator"\nheldout = 0.2\nstart = "scratch"\n'
        "[pretrain.scratch]\nvocabulary = 400\nlayers = 1\nhidden = 16\nheads = 1\nintermediate = 16\n"
    )
    loaded = recipe.load(tmp_path / "recipe.toml")
    open_text(loaded, find_files(loaded.pretrain, root, tmp_path))
    gc.collect()  # nothing of these is in use any more
    return root


def state_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def texts(root: Path) -> dict[str, bytes]:
    return {name: content for name, content in state_of(root).items() if BESIDE not in name}


def test_all_that_is_encoded_goes_and_is_told(command: Command, data_root: Path, tmp_path: Path) -> None:
    before = texts(data_root)
    planned = command.json("purge", "--data", data_root, "--dry-run")
    assert {cache["state"] for cache in planned["caches"]} == {"found"}
    done = command.json("purge", "--data", data_root)
    folders = [tmp_path / "home" / "mtscale" / "encoded", data_root / BESIDE, data_root / "notes" / BESIDE]
    assert sorted(cache["folder"] for cache in done["caches"]) == sorted(map(str, folders))
    assert [cache["parts"] for cache in done["caches"]] == [cache["parts"] for cache in planned["caches"]]
    found = {part["what"]: part for cache in done["caches"] for part in cache["parts"]}
    assert found.keys() == {"task ward", "task open", "task cdr-similarity", "text to pretrain on", "vocabularies"}
    assert (found["task ward"]["access"], found["task ward"]["files"]) == ("dua", 4)
    assert (found["task open"]["access"], found["task open"]["files"]) == ("open", 2)
    assert all(part["bytes"] > 0 for part in found.values())
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == [".lock", TAG]
    assert texts(data_root) == before
    assert "removed" in command("purge", "--data", data_root)


def test_one_task_alone(command: Command, data_root: Path, tiny_vocabulary: PieceVocabulary) -> None:
    before = state_of(data_root)
    command("purge", "--data", data_root, "--task", "ward")
    after = state_of(data_root)
    assert len(before) - len(after) == 4
    assert all(Path(name).name.startswith("ward.") for name in before.keys() - after.keys())
    open_split(WARD, "train", data_root, tiny_vocabulary, 64)
    gc.collect()
    again = state_of(data_root)
    # Facts and rows: encoded anew, the same.
    assert len(again) == len(after) + 2
    assert all(before[name] == content for name, content in again.items() if name.endswith(".json"))


def test_what_is_not_ours_stays(command: Command, data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "notes" / BESIDE
    outside = tmp_path / "outside.arrow"
    outside.write_text("x")
    (folder / "notes.doc").write_text("x")
    (folder / "ward.train.arrow").write_text("a name that is nearly ours")
    (folder / "ward.train.0123456789abcdef.arrow").symlink_to(outside)
    (folder / "vocabulary.0123456789abcdef").symlink_to(tmp_path)
    kept = {"notes.doc", "ward.train.arrow", "ward.train.0123456789abcdef.arrow", "vocabulary.0123456789abcdef"}
    # An encoding that was killed has left this.
    (folder / ".encoding-abc_1").write_text("x")
    printed = command("purge", "--data", data_root)
    assert {path.name for path in folder.iterdir()} == kept | {".lock", TAG}
    assert all(name in printed for name in kept)
    assert outside.read_text() == "x"


def test_a_folder_without_our_mark_is_left_alone(command: Command, data_root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / BESIDE).mkdir(parents=True)
    (other / BESIDE / "ward.train.0123456789abcdef.arrow").write_text("x")
    (other / "linked").mkdir()
    (other / "linked" / BESIDE).symlink_to(data_root / BESIDE)
    before = state_of(other), state_of(data_root)
    found = command.json("purge", "--data", other, code=EXIT_REFUSED)
    states = {cache["folder"]: cache["state"] for cache in found["caches"]}
    assert states[str(other / BESIDE)] == states[str(other / "linked" / BESIDE)] == "not marked"
    (other / BESIDE / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n")  # of another program
    assert "no mark of ours" in command("purge", "--data", other, code=EXIT_REFUSED)
    (other / BESIDE / TAG).unlink()
    assert (state_of(other), state_of(data_root)) == before
    assert "found none at" in command("purge", "--data", tmp_path / "absent", code=EXIT_REFUSED)


def test_what_a_run_uses_stays_until_it_has_ended(
    command: Command, data_root: Path, tiny_vocabulary: PieceVocabulary
) -> None:
    folder = data_root / "notes" / BESIDE
    split = open_split(WARD, "train", data_root, tiny_vocabulary, 64)
    before = state_of(folder)
    assert f"{folder}: in use" in command("purge", "--data", data_root, code=EXIT_REFUSED)
    assert state_of(folder) == before
    assert not list((data_root / BESIDE).glob("text.*")), "the other caches were free"
    assert len(split.rows) == 1
    del split
    gc.collect()
    code = (
        "import sys, pathlib, mtscale.inputs.private as p; used = p.InUse(pathlib.Path(sys.argv[1])); print(flush=True)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{code}; sys.stdin.read()", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    command("purge", "--data", data_root, code=EXIT_REFUSED)
    assert state_of(folder) == before
    holder.kill()  # however it ends
    holder.communicate()
    command("purge", "--data", data_root, code=EXIT_FINISHED)
    assert not list(folder.glob("*.arrow"))


def test_the_mark_is_private_and_repaired(data_root: Path, tiny_vocabulary: PieceVocabulary) -> None:
    folder = data_root / "notes" / BESIDE
    assert is_cache(folder)
    assert stat.S_IMODE((folder / TAG).stat().st_mode) == 0o600
    (folder / TAG).write_text("")  # a crash while it was written
    assert not is_cache(folder)
    open_split(WARD, "train", data_root, tiny_vocabulary, 64)
    assert is_cache(folder)
