"""The shape of the source tree: names that hide nothing, files and functions of a readable size, light watching."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

import mtscale

PACKAGE = Path(mtscale.__file__).parent
TREES = (PACKAGE, PACKAGE.parent / "tui")
FILES = [path for tree in TREES for path in sorted(tree.rglob("*.py"))]
MAX_LINES_OF_A_FILE = 400
MAX_LINES_OF_A_FUNCTION = 60
HEAVY = ("torch", "transformers", "deepspeed", "datasets", "mlflow", "scipy", "matplotlib")
WATCHING = (
    "mtscale.tasks",
    "mtscale.recipe",
    "mtscale.ds_config",
    "mtscale.names",
    "mtscale.runs",
    "mtscale.event_log",
    "mtscale.run_summary",
    "mtscale.processes",
    "mtscale_tui.app",
    "mtscale_tui.launch_screen",
    "mtscale_tui.compare_screen",
    "mtscale_tui.study_screen",
    "mtscale.study_commands",
    "mtscale.training.detach",
    "mtscale.training.queued",
    "mtscale.training.job",
    "mtscale.cli",
)


def dependencies() -> set[str]:
    """The top-level import names of what mtscale requires, extras included."""
    wanted = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requires("mtscale") or []}
    modules = packages_distributions()
    return {module for module, owners in modules.items() if wanted & {owner.lower() for owner in owners}}


def test_nothing_directly_in_the_package_hides_another_module() -> None:
    # `deepspeed mtscale/train.py` puts the package's own folder first on sys.path.
    own = {path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir()}
    taken = set(sys.stdlib_module_names) | dependencies()
    assert {"torch", "mlflow", "logging", "types"} <= taken
    assert {"train", "training"} <= own
    assert sorted(own & taken - {"__init__"}) == []


def test_files_are_short() -> None:
    assert len(FILES) > 40
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lengths) > 200
    assert {name: length for name, length in lengths.items() if length > MAX_LINES_OF_A_FUNCTION} == {}


@pytest.mark.parametrize("module", WATCHING)
def test_watching_loads_no_training_library(module: str) -> None:
    probe = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    loaded = json.loads(done.stdout)
    assert module in loaded
    assert sorted(set(HEAVY) & set(loaded)) == []
