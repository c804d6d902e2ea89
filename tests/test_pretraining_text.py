"""Vocabulary, shards and mini-batches: each document once, the same everywhere, no more on disk than allowed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtscale import recipe
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.errors import ConfigError, DataError
from mtscale.model.encoder import open_tokenizer
from mtscale.pretraining.batches import TextRow, TextSchedule, collate, heldout_batches, mask_rows
from mtscale.pretraining.documents import cut, read
from mtscale.pretraining.masking import HELDOUT
from mtscale.pretraining.shards import cut_rows, is_held_out
from mtscale.pretraining.sources import find_files
from mtscale.pretraining.text import PretrainText, open_text
from mtscale.pretraining.vocabulary import SPECIAL, train_vocabulary
from mtscale.recipe import Recipe
from mtscale.recipe_sections import PretrainSettings, ScratchSettings

TEXT = SAMPLE_FOLDER / "cdr" / "train.pubtator.txt"
SHARD = 20_000


def load(folder: Path, encoder: Path, *lines: str, heldout: float = 0.2) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(
        f'name = "text"\nstages = ["pretrain"]\n[encoder]\nname = "{encoder}"\nmax_pieces = 64\n[pretrain]\n'
        'files = ["sample:cdr/train.pubtator.txt"]\nformat = "pubtator"\naccess = "open"\n'
        + "\n".join([f"heldout = {heldout}", *lines])
    )
    return recipe.load(path)


def opened(folder: Path, encoder: Path, *lines: str, heldout: float = 0.2) -> PretrainText:
    loaded = load(folder, encoder, *lines, heldout=heldout)
    return open_text(loaded, find_files(loaded.pretrain, None, folder), SHARD)


@pytest.fixture
def text(tmp_path: Path, tiny_encoder: Path) -> PretrainText:
    return opened(tmp_path, tiny_encoder)


def all_rows(text: PretrainText, seed: int, epoch: int, batch_size: int = 7) -> list[list[int]]:
    return [[row.number for row in batch] for batch in TextSchedule(text.corpus, batch_size, seed).epoch(epoch)]


def heldout_lengths(text: PretrainText) -> list[int]:
    return [len(row.pieces) for batch in heldout_batches(text.corpus, 5) for row in batch]


@given(begins=st.lists(st.booleans(), min_size=1, max_size=80), room=st.integers(1, 12))
def test_rows_fit_and_end_before_words(begins: list[bool], room: int) -> None:
    ends = cut_rows(np.array(begins), room)
    bounds = [0, *ends]
    lengths = np.diff(bounds)
    assert bounds[-1] == len(begins)
    assert (lengths >= 1).all()
    assert (lengths <= room).all()
    for start, end in itertools.pairwise(bounds[:-1]):
        # A row ends inside a word only where that word fills all of it, and then it is full.
        assert begins[end] or not any(begins[start + 1 : start + room + 1])
        assert not any(begins[end + 1 : start + room + 1])


def test_every_piece_is_in_a_row_of_its_side_once(text: PretrainText) -> None:
    backend = text.vocabulary.backend
    expected: dict[bool, list[int]] = {True: [], False: []}
    for group in cut([TEXT], "pubtator", SHARD):
        for stretch in group:
            for document in read(stretch, "pubtator"):
                expected[is_held_out(document, 0.2)] += backend.encode(document, add_special_tokens=False).ids
    assert len(text.corpus.counts) > 3
    batches = list(TextSchedule(text.corpus, 7, 1).epoch(1))
    rows = {row.number: row.pieces.tolist() for batch in batches for row in batch}
    assert sorted(rows) == list(range(text.corpus.total.rows))
    assert sum(len(batch) for batch in batches) == len(rows)
    assert [piece for number in sorted(rows) for piece in rows[number]] == expected[False]
    held_out = [row for batch in heldout_batches(text.corpus, 5) for row in batch]
    assert [piece for row in held_out for piece in row.pieces.tolist()] == expected[True]
    assert [row.number for row in held_out] == list(range(text.corpus.total.heldout_rows))
    counts = Counter(expected[False])
    assert text.corpus.unigrams().tolist() == [counts[piece] for piece in range(backend.get_vocab_size())]


def test_copies_of_a_document_are_on_one_side_and_the_share_is_held() -> None:
    documents = [f"Document number {number}." for number in range(20_000)]
    held_out = [is_held_out(document, 0.1) for document in documents]
    assert np.mean(held_out) == pytest.approx(0.1, abs=0.01)
    assert held_out == [is_held_out(f" {document.upper()}\n", 0.1) for document in documents]
    twice = [is_held_out(document, 0.2) for document in documents]
    assert all(later or not earlier for earlier, later in zip(held_out, twice, strict=True))


def test_epochs_differ_and_can_be_entered_anywhere(text: PretrainText) -> None:
    schedule = TextSchedule(text.corpus, 7, 1)
    first, second = all_rows(text, 1, 1), all_rows(text, 1, 2)
    assert len(first) == len(second) == schedule.steps_per_epoch
    assert first != second
    assert first != all_rows(text, 2, 1)
    for skip in (0, 1, 5, len(first) - 1, len(first)):
        entered = [[row.number for row in batch] for batch in schedule.epoch(1, skip)]
        assert entered == first[skip:]


def test_what_is_dropped_from_the_disk_is_encoded_anew(tmp_path: Path, tiny_encoder: Path, text: PretrainText) -> None:
    folder = Path(os.environ["MTSCALE_CACHE"]) / "encoded"
    whole = all_rows(text, 1, 1)
    for path in folder.glob("text.*"):
        path.unlink()
    small = opened(tmp_path, tiny_encoder, "cache_gib = 1e-6")
    sizes = []
    for batch in TextSchedule(small.corpus, 7, 1).epoch(1):
        sizes.append(len(list(folder.glob("text.*.train.pieces.npy"))))
        assert batch
    assert max(sizes[1:]) == 1, "the limit is less than a shard: only the one being read stays"
    assert all_rows(small, 1, 1) == whole
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.glob("text.*"))


def test_opening_keeps_to_the_limit_on_disk(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_disk(folder: Path) -> list[int]:
        return [path.stat().st_size for path in folder.glob("text.*.train.pieces.npy")]

    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path / "large"))
    text = opened(tmp_path, tiny_encoder)
    whole, held_out = on_disk(tmp_path / "large" / "encoded"), heldout_lengths(text)
    limit = sum(whole) // 3
    assert limit + max(whole) < sum(whole), "else the whole text would do"
    folder = tmp_path / "small" / "encoded"
    monkeypatch.setenv("MTSCALE_CACHE", str(folder.parent))
    written: list[str] = []
    seen: list[int] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        replace(source, target)
        if Path(target).parent == folder:
            written.append(Path(target).name)
            seen.append(sum(on_disk(folder)))

    monkeypatch.setattr(os, "replace", watched)
    loaded = load(tmp_path, tiny_encoder, f"cache_gib = {limit / 2**30}")
    files = find_files(loaded.pretrain, None, tmp_path)
    with ThreadPoolExecutor(2) as pool:  # the folder's lock is between threads as between the ranks of a run
        first, second = pool.map(lambda _: open_text(loaded, files, SHARD), range(2))
    assert max(seen) <= limit + max(whole), "the shard being written comes on top"
    assert limit - max(whole) < sum(on_disk(folder)) <= limit, "what fits stays"
    assert first.corpus.counts == second.corpus.counts == text.corpus.counts
    assert heldout_lengths(second) == held_out
    assert sum(name.endswith(".train.pieces.npy") for name in written) == len(whole), "each shard is encoded once"


def test_a_batch_holds_the_masked_rows(text: PretrainText) -> None:
    rows = next(TextSchedule(text.corpus, 7, 1).epoch(1))
    masked = mask_rows(rows, text.masking, 1, 1)
    batch = collate(masked, text.vocabulary)
    padded = batch.layout.pad(batch.input_ids)
    assert batch.labels is not None
    assert len(batch.labels) == len(batch.read) == sum(len(one.chosen) for one in masked)
    first = label = 0
    for index, (row, one) in enumerate(zip(rows, masked, strict=True)):
        length = len(row.pieces)
        seen = [text.vocabulary.cls_id, *one.seen.tolist(), text.vocabulary.sep_id]
        assert padded[index, : length + 2].tolist() == seen
        for place in one.chosen:
            assert batch.read[label] == first + 1 + place
            assert batch.labels[label] == row.pieces[place]
            label += 1
        first += length + 2
    assert not batch.token_type_ids.any()


def test_a_row_with_nothing_to_predict_adds_nothing(tmp_path: Path, tiny_encoder: Path) -> None:
    text = opened(tmp_path, tiny_encoder, 'masking = "words"')
    vocabulary = text.vocabulary.backend.get_vocab()
    one_word = np.array([vocabulary["a"], *[vocabulary["##b"]] * 20], dtype=np.int32)
    (masked,) = mask_rows([TextRow(0, one_word)], text.masking, 1, 1)
    assert not len(masked.chosen), "the word has more pieces than are to be predicted"
    batch = collate([masked], text.vocabulary)
    assert batch.labels is None
    assert batch.pieces == 23


def test_held_out_masks_are_the_same_in_every_run(text: PretrainText) -> None:
    (one, *_), (other, *_) = (list(heldout_batches(text.corpus, 5)) for _ in range(2))
    assert [row.seen.tolist() for row in mask_rows(one, text.masking, *HELDOUT)] == [
        row.seen.tolist() for row in mask_rows(other, text.masking, *HELDOUT)
    ]


def test_a_vocabulary_is_the_same_in_every_process() -> None:
    """The order of a hash table, which differs between processes, must not show."""
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from mtscale.pretraining.vocabulary import train_vocabulary\n"
        "from mtscale.recipe_sections import ScratchSettings\n"
        "text = Path(sys.argv[1]).read_text()\n"
        "print(json.dumps(train_vocabulary(lambda: text.splitlines(), ScratchSettings(vocabulary=900))))\n"
    )
    root = str(Path(__file__).parents[1])
    found = [
        subprocess.run(
            [sys.executable, "-c", program, str(TEXT)],
            env=os.environ | {"PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1]
    vocabulary = json.loads(found[0])
    assert list(vocabulary.values()) == list(range(900))
    assert list(vocabulary)[:5] == list(SPECIAL)
    assert {"the", "##s", "patients", "##ing"} <= set(vocabulary)


def test_a_vocabulary_too_small_for_its_characters_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.scratch\.vocabulary is 100: expected at least"):
        train_vocabulary(lambda: [chr(number) for number in range(0x3B1, 0x4B1)], ScratchSettings(vocabulary=100))


def test_the_vocabulary_from_scratch_knows_no_held_out_document_and_bears_the_mark(tmp_path: Path) -> None:
    lines = [f"common words in document {number}" for number in range(40)]
    rare = next(f"{line} zyxwvu" for line in lines if is_held_out(f"{line} zyxwvu", 0.2))
    (tmp_path / "own.txt").write_text("\n".join([*lines, rare]))
    path = tmp_path / "recipe.toml"
    path.write_text(
        'name = "own"\nstages = ["pretrain"]\n[pretrain]\nfiles = ["own.txt"]\nheldout = 0.2\nstart = "scratch"\n'
        "[pretrain.scratch]\nvocabulary = 300\nmin_count = 1\n"
    )
    loaded = recipe.load(path)
    text = open_text(loaded, find_files(loaded.pretrain, None, tmp_path))
    assert "common" in text.tokenizer.get_vocab()
    assert "z" not in text.tokenizer.get_vocab()
    (folder,) = (Path(os.environ["MTSCALE_CACHE"]) / "encoded").glob("vocabulary.*")
    assert open_tokenizer(str(folder), "x").init_kwargs["mtscale_access"] == "dua"


def test_too_few_documents_are_told(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(DataError, match=r"expected enough documents to hold out 0\.01%"):
        opened(tmp_path, tiny_encoder, heldout=0.0001)


def test_files_are_found_under_the_data_root_first_and_all_missing_ones_told(tmp_path: Path) -> None:
    root, beside = tmp_path / "root", tmp_path / "beside"
    for folder, name in ((root, "a1.txt"), (root, "a2.txt"), (beside, "a3.txt"), (beside, "b.txt")):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("x\n")
    settings = PretrainSettings(files=("a*.txt", "b.txt", "a1.txt"))
    found = find_files(settings, root, beside)
    assert found.paths == (root / "a1.txt", root / "a2.txt", beside / "b.txt")
    assert found.places == (root / ".mtscale-cache",), "text under an agreement is not encoded elsewhere"
    assert len(find_files(settings.model_copy(update={"access": "open"}), root, beside).places) == 2
    with pytest.raises(DataError) as caught:
        find_files(PretrainSettings(files=("c*.txt", "sample:cdr/none.txt")), root, beside)
    assert "'c*.txt' under" in str(caught.value)
    assert "'sample:cdr/none.txt' under" in str(caught.value)


def test_whole_words_need_a_vocabulary_that_marks_them(tmp_path: Path, tiny_encoder: Path) -> None:
    text = opened(tmp_path, tiny_encoder, 'masking = "words"')
    assert text.masking.words
    vocabulary = text.vocabulary.backend.get_vocab()
    assert text.masking.continues[vocabulary["##a"]]
    assert not text.masking.continues[vocabulary["a"]]
    assert not set(text.masking.ordinary.tolist()) & set(text.tokenizer.all_special_ids)
