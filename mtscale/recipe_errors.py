"""Problems in a recipe, told with the line they stand on and the nearest valid name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

Location = tuple[int | str, ...]

_TABLE = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")


def nearest(name: str, valid: Iterable[str]) -> str:
    """``, did you mean 'x'?`` if a valid name is close, else nothing."""
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def line_of(text: str, location: Location) -> int | None:
    """The line (from 1) on which a value of a TOML text is set, or where its table begins; None if nowhere."""
    index = location[1] if len(location) > 1 and isinstance(location[1], int) else None
    keys = [str(part) for part in location if not isinstance(part, int)]
    table: list[str] = []
    element = -1
    found, found_depth = None, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            path = table = header.group(2).split(".")
            element += header.group(1) == "[[" and table == keys[:1]
        elif key := _KEY.match(line):
            path = [*table, *(part.strip() for part in key.group(1).split("."))]
        else:
            continue
        depth = min(len(path), len(keys))
        in_element = index is None or not table or element == index
        if path[:depth] == keys[:depth] and in_element and depth > found_depth:
            found, found_depth = number, depth
    return found


def _valid_names(model: type[BaseModel], location: Location) -> list[str]:
    """The field names of the table a location lies in."""
    current: type[BaseModel] = model
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        inner = next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return []
        current = inner
    return list(current.model_fields)


def _to_value(location: Location, content: object) -> Location:
    """A location without what pydantic adds behind a value: the members of a union that it has tried."""
    for depth, part in enumerate(location):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part]
        else:
            return location[:depth]
    return location


def problems(error: ValidationError, model: type[BaseModel], content: object) -> list[tuple[Location, str]]:
    """What is wrong where, in the order of the schema; ``content`` is what was parsed and failed."""
    found = error.errors(include_url=False)
    told = []
    for problem in found:
        location = _to_value(tuple(problem["loc"]), content)
        if problem["type"] == "too_short" and any(len(other["loc"]) > len(location) for other in found):
            continue  # pydantic counts only the valid items; the invalid ones are told one by one
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{nearest(str(location[-1]), _valid_names(model, location))}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] not in {"missing", "value_error"}:
                message += f", found {problem['input']!r}"
        told.append((location, message))
    return told


def dotted(location: Location) -> str:
    """A location as ``--set`` and messages write it: ``refine.epochs``, ``tasks[0].name``."""
    return ".".join(f"[{part}]" if isinstance(part, int) else part for part in location).replace(".[", "[")


def explain(
    error: ValidationError,
    model: type[BaseModel],
    path: Path,
    text: str,
    content: Mapping[str, object],
    overridden: Sequence[tuple[str, ...]],
) -> str:
    """All problems of a recipe, one a line: where, which setting, what was expected and found.

    ``text`` is the file, ``content`` what was parsed from it with the keys in ``overridden`` replaced.
    """
    found: dict[tuple[int, str], list[str]] = {}
    for location, message in problems(error, model, content):
        number = line_of(text, location) if location else None
        name = dotted(location)
        if _is_overridden(location, number, overridden):
            where = f"--set {name}"
        else:
            where = f"{path}:{number}: {name}" if number else f"{path}: {name}".rstrip(": ")
        found.setdefault((number or 0, where), []).append(message)
    return "\n".join(f"{where}: {'; or: '.join(messages)}" for (_, where), messages in sorted(found.items()))


def _is_overridden(location: Location, line: int | None, overridden: Sequence[tuple[str, ...]]) -> bool:
    """Whether the value at a location, or all there is of its table, comes from a ``--set``."""
    parts = tuple(map(str, location))
    return any(
        parts[: len(key)] == key or (line is None and parts != () and key[: len(parts)] == parts) for key in overridden
    )
