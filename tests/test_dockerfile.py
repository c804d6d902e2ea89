"""What matters of the Dockerfile: no root, pinned layers that a change of the source leaves alone, no caches."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Instruction = tuple[str, str]


@pytest.fixture(scope="module")
def instructions() -> list[Instruction]:
    """Name and arguments of each instruction; continued lines are joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    logical = text.replace("\\\n", "").splitlines()
    return [(name, rest) for name, _, rest in (line.strip().partition(" ") for line in logical) if name]


def commands(run: str) -> list[list[str]]:
    """The words of each command of a RUN instruction."""
    found: list[list[str]] = [[]]
    for word in shlex.split(run):
        if word == "&&":
            found.append([])
        else:
            found[-1].append(word)
    return found


def installs(run: str) -> list[list[str]]:
    return [command for command in commands(run) if command[:2] == ["pip", "install"]]


def position(instructions: list[Instruction], wanted: Instruction) -> int:
    return next(at for at, (name, rest) in enumerate(instructions) if name == wanted[0] and rest.endswith(wanted[1]))


def test_nothing_is_installed_copied_or_started_as_root(instructions: list[Instruction]) -> None:
    users = [(at, rest) for at, (name, rest) in enumerate(instructions) if name == "USER"]
    assert users
    assert not any(user.split(":")[0] in ("root", "0") for _, user in users)
    for name, rest in instructions[: users[0][0]]:
        assert name not in ("COPY", "ADD", "CMD", "ENTRYPOINT")
        assert not installs(rest)
    user = users[0][1]
    assert all(rest.startswith(f"--chown={user}:") for name, rest in instructions if name == "COPY")


def test_cuda_and_torch_are_build_arguments(instructions: list[Instruction]) -> None:
    arguments = dict(rest.split("=", 1) for name, rest in instructions if name == "ARG")
    assert "${CUDA}" in next(rest for name, rest in instructions if name == "FROM")
    assert (ROOT / "constraints" / f"{arguments['TORCH']}.txt").is_file()
    # A V100 needs the build for CUDA 12.6.
    assert arguments["CUDA"].startswith("12.6.")
    assert arguments["TORCH_INDEX"].endswith(f"/{arguments['TORCH']}")
    assert "torch==" in (ROOT / "constraints" / f"{arguments['TORCH']}.txt").read_text(encoding="utf-8")


def test_dependencies_come_pinned_and_before_the_source(instructions: list[Instruction]) -> None:
    source = position(instructions, ("COPY", " . ."))
    before = [words for _, rest in instructions[:source] for words in installs(rest)]
    after = [words for _, rest in instructions[source:] for words in installs(rest)]
    assert len(before) >= 2
    assert all("constraints/${TORCH}.txt" in words for words in before)
    assert len(after) == 1
    assert {"--no-deps", "--no-build-isolation"} <= set(after[0])
    copied = [rest.split()[1:-1] for name, rest in instructions[:source] if name == "COPY"]
    assert copied == [["constraints"], ["pyproject.toml"]]


def test_the_dependency_layer_holds_everything_that_the_package_requires(instructions: list[Instruction]) -> None:
    (script,) = [
        command[2]
        for _, rest in instructions
        for command in commands(rest)
        if command[:2] == ["python", "-c"] and "tomllib" in command[2]
    ]
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    read = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = read["project"]["optional-dependencies"]
    wanted = [*read["build-system"]["requires"], *read["project"]["dependencies"]]
    (everything,) = extras.pop("all")
    assert everything == f"mtscale[{','.join(extras)}]"
    wanted += [line for extra in extras.values() for line in extra]
    assert sorted(done.stdout.splitlines()) == sorted(wanted)


def test_no_cache_stays_in_a_layer(instructions: list[Instruction]) -> None:
    first = next(at for at, (_, rest) in enumerate(instructions) if installs(rest))
    assert any(name == "ENV" and "PIP_NO_CACHE_DIR=1" in rest.split() for name, rest in instructions[:first])
    apt = [rest for _, rest in instructions if "apt-get update" in rest]
    assert apt
    assert all("rm -rf /var/lib/apt/lists/*" in rest for rest in apt)


def test_the_image_is_checked_by_importing_what_it_is_for(instructions: list[Instruction]) -> None:
    last = [command for name, rest in instructions if name == "RUN" for command in commands(rest)][-1]
    assert last[:2] == ["python", "-c"]
    assert all(module in last[2] for module in ("mtscale", "mtscale_tui", "deepspeed"))


def test_only_named_files_reach_the_build(instructions: list[Instruction]) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines[1:] if line.startswith("!")}
    assert all((ROOT / name).exists() for name in allowed)
    assert allowed.isdisjoint({".git", ".venv", "runs", "tests", ".", "**"})
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {"pyproject.toml", "constraints", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {path.split("/")[0] for path in project["tool"]["setuptools"]["package-dir"].values()}
    assert needed <= allowed
    assert "**/__pycache__" in lines
