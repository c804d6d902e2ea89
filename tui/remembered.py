"""What the app remembers between its starts: a theme, and how the last run was launched. No widgets here."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

THEME = "theme"
LAUNCH = "launch"


def path() -> Path:
    """The file, in the user's folder for settings (``XDG_CONFIG_HOME``)."""
    # Asked anew each time, and not kept from the import.
    if folder := os.environ.get("XDG_CONFIG_HOME"):
        return Path(folder) / "mtscale" / "tui.json"
    import platformdirs

    return platformdirs.user_config_path("mtscale") / "tui.json"


def load() -> dict[str, object]:
    """All that is remembered; nothing where the file is missing or damaged."""
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def theme() -> str | None:
    """The name of the theme last chosen."""
    found = load().get(THEME)
    return found if isinstance(found, str) else None


def launch() -> dict[str, str]:
    """The fields of the launch form, as they were typed."""
    found = load().get(LAUNCH)
    if not isinstance(found, Mapping):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def remember(key: str, value: object) -> None:
    """Keep a value; a folder that cannot be written is no reason to stop."""
    from mtscale.runs import write_atomically

    known = load() | {key: value}
    with contextlib.suppress(OSError):
        path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path(), json.dumps(known, indent=2))
