"""Study files: TOML that says which tables are wanted, of which models, on which tasks. Without torch.

    name = "mine"                       protocol, seeds, [settings.refine], [settings.finetune]: as in a recipe
    [[tasks]]                           as in a recipe
    [domains]   clinical = [...]        sets of tasks; "all" is every task
    [encoders]  bert = "biobert"        or { pretrain = RECIPE }: the encoder that this recipe's pretraining makes
    [tables.table2]                     rows of models on the tasks of a domain
    [figure]                            the pairs of tasks within each domain (Figure 2)

Unknown keys are refused with the nearest valid name, all problems at once, each with its file and line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from mtscale import recipe_errors
from mtscale.errors import ConfigError
from mtscale.names import TASK_NAME
from mtscale.recipe import Protocol
from mtscale.recipe_sections import Section
from mtscale.recipe_tasks import TaskTable
from mtscale.study.paper_numbers import paper_numbers

STUDIES = Path(__file__).parents[1] / "studies"
EVERY = "all"
# The part of a study that counts its corpora, and the one that draws its graph.
CORPORA, FIGURE = "table1", "figure2"

Model = Literal["single", "refined", "finetuned"]
Name = Annotated[str, Field(pattern=f"^{TASK_NAME.pattern}$")]


class Row(Section):
    """A model of a table: how it is trained, from which encoder, on which tasks together."""

    label: str = Field(description="what the row is called")
    model: Model = Field(
        description="'single': each task alone, refine with one task; 'refined': one model of all tasks (section "
        "3.5.2); 'finetuned': the refined model trained on, for each task (section 3.5.3)"
    )
    encoder: str = Field(description="one of [encoders]")
    trained_on: str | None = Field(None, description="the domain trained on together; default: the table's")
    paper: str | None = Field(None, description="the model of the paper's table to show beside it; default: its label")

    @model_validator(mode="before")
    @classmethod
    def _has_no_protocol(cls, content: object) -> object:
        if isinstance(content, dict) and "protocol" in content:
            raise ValueError(
                "a table has one protocol, which stands beside its title: scores chosen on test do not compare with "
                "others; put this row into a table of its own"
            )
        return content


class Table(Section):
    """Rows of models, a column for each task and the average."""

    title: str
    tasks: str = Field(EVERY, description="a domain, or 'all'")
    protocol: Protocol | None = Field(None, description="of all its rows; default: the study's")
    rows: tuple[Row, ...] = Field(strict=False, min_length=1)
    baseline: str | None = Field(None, description="the label of the row that the others are compared with")
    turned: bool = Field(False, description="tasks as rows and models as columns, as Table 6 is printed")
    paper: int | None = Field(
        None, ge=2, le=6, description="the paper's table to show beside it, for rows whose label or paper is its model"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        labels = [row.label for row in self.rows]
        if len(set(labels)) != len(labels):
            raise ValueError("labels of rows must differ from each other")
        if self.baseline is not None and self.baseline not in labels:
            raise ValueError(f"baseline: no row {self.baseline!r}{recipe_errors.nearest(self.baseline, labels)}")
        models = paper_numbers().tables[self.paper].models if self.paper else ()
        for row in self.rows:
            if row.paper is not None and row.paper not in models:
                hint = recipe_errors.nearest(row.paper, models)
                raise ValueError(f"row {row.label!r}: no model {row.paper!r} in Table {self.paper} of the paper{hint}")
        return self


class Figure(Section):
    """Which task improves which: every pair trained together against each task alone."""

    title: str = "Pairwise multi-task learning"
    encoders: dict[str, str] = Field(description="the encoder of each domain's pairs, {domain = encoder}")
    across: bool = Field(False, description="pairs of tasks of different domains too, from the first encoder")
    affinity_every: int | None = Field(
        None,
        ge=1,
        description="sample the tasks' affinities after so many steps each, in one refined model of each domain's "
        "tasks, and set them against what the pairs gain",
    )


class EncoderSource(Section):
    """An encoder that is made first."""

    pretrain: str = Field(description="a recipe with stages = ['pretrain'], by name or file")


class Settings(Section):
    """What the recipes of all runs share; each table as in a recipe."""

    encoder: dict[str, Any] = Field({}, description="[encoder] but its name")
    refine: dict[str, Any] = Field({}, description="[refine]")
    finetune: dict[str, Any] = Field({}, description="[finetune]")
    paper: dict[str, Any] = Field({}, description="[paper]")


class Study(Section):
    """A whole study."""

    name: Name = Field(description="the folder of the study under runs/studies")
    title: str = ""
    scope: str = Field("", description="what the study shows and what it does not, for its report to say")
    protocol: Protocol = Field(
        "clean", description="of the figure, and of all tables that name none: the two are never mixed in a table"
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((1, 2, 3), strict=False, min_length=1)
    one_seed: bool = Field(
        False, description="compare models of one seed each, though nothing then says what another seed would give"
    )
    budget_minutes: float | None = Field(
        None, gt=0, description="training documents, then epochs, are reduced until the estimated time fits"
    )
    settings: Settings = Settings()
    tasks: tuple[TaskTable, ...] = Field(strict=False, min_length=1)
    domains: dict[Name, Annotated[tuple[str, ...], Field(strict=False, min_length=1)]] = Field({}, strict=False)
    encoders: dict[Name, str | EncoderSource] = Field(min_length=1)
    corpora: str = Field("Summary of the tasks", description="the title of the table of corpora")
    tables: dict[Name, Table] = Field({})
    figure: Figure | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError("tasks: names must differ from each other")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must differ from each other")
        if EVERY in self.domains:
            raise ValueError(f"domains: {EVERY!r} is every task already, choose another name")
        for domain, members in self.domains.items():
            for name in members:
                if name not in names:
                    raise ValueError(f"domains.{domain}: no task {name!r}{recipe_errors.nearest(name, names)}")
        for key in (CORPORA, FIGURE):
            if key in self.tables:
                raise ValueError(f"tables.{key}: the name is taken by the study's own part, choose another")
        if self.settings.paper and "paper" not in self.protocols:
            raise ValueError("settings.paper is for protocol = 'paper', which neither the study nor a table has")
        return self._check_references()

    def _check_references(self) -> Self:
        for key, table in self.tables.items():
            self._require("domain", table.tasks, f"tables.{key}.tasks", (EVERY, *self.domains))
            for row in table.rows:
                where = f"tables.{key}, row {row.label!r}"
                self._require("encoder", row.encoder, where, self.encoders)
                self._require("domain", row.trained_on or table.tasks, where, (EVERY, *self.domains))
                missing = set(self.tasks_of(table.tasks)) - set(self.tasks_of(row.trained_on or table.tasks))
                if missing:
                    raise ValueError(f"{where}: it is not trained on {', '.join(sorted(missing))}, which the table has")
        for domain, encoder in self.figure.encoders.items() if self.figure else ():
            self._require("domain", domain, "figure.encoders", (EVERY, *self.domains))
            self._require("encoder", encoder, f"figure.encoders.{domain}", self.encoders)
            if len(self.tasks_of(domain)) < 2:
                raise ValueError(f"figure.encoders: a domain needs two tasks for a pair, {domain} has one")
        return self

    def _require(self, what: str, name: str, where: str, valid: Iterable[str]) -> None:
        valid = list(valid)
        if name not in valid:
            hint = recipe_errors.nearest(name, valid)
            raise ValueError(f"{where}: no {what} {name!r}{hint}; there are {', '.join(valid)}")

    def require_seeds(self) -> None:
        """Refuse comparisons of models of one seed, unless they are asked for.

        Raises:
            ConfigError: with the ways out.
        """
        compared = [f"tables.{key}.baseline" for key, table in self.tables.items() if table.baseline is not None]
        compared += ["figure"] if self.figure is not None else []
        if len(self.seeds) == 1 and compared and not self.one_seed:
            raise ConfigError(
                f"study {self.name}: {', '.join(compared)} compare models, which needs two seeds or more, found one "
                f"({self.seeds[0]}): the spread over seeds would stay unknown. Give more (seeds, or --seeds 1,2), or "
                "set one_seed = true in the study file: every difference is then conditional on that seed"
            )

    def tasks_of(self, domain: str) -> tuple[str, ...]:
        """The names of a domain's tasks, in the order of ``tasks`` for ``all``."""
        return tuple(task.name for task in self.tasks) if domain == EVERY else self.domains[domain]

    def protocol_of(self, key: str) -> Protocol:
        """The protocol of a table."""
        return self.tables[key].protocol or self.protocol

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """Those of its parts, the study's own first."""
        return tuple(dict.fromkeys((self.protocol, *map(self.protocol_of, self.tables))))

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of what a report holds, in order."""
        return (CORPORA, *self.tables, *((FIGURE,) if self.figure else ()))

    def only(self, parts: Sequence[str]) -> Study:
        """The study with some of its parts.

        Raises:
            ConfigError: it has no such part.
        """
        for part in parts:
            if part not in self.parts:
                raise ConfigError(
                    f"study {self.name}: no part {part!r}{recipe_errors.nearest(part, self.parts)}; "
                    f"there are {', '.join(self.parts)}"
                )
        tables = {key: table for key, table in self.tables.items() if key in parts}
        return self.model_copy(update={"tables": tables, "figure": self.figure if FIGURE in parts else None})


def shipped() -> Mapping[str, tuple[Path, str | None]]:
    """The shipped studies: each file as ``PREFIXall``, and each of its parts as ``PREFIXtable2``.

    The file ``blue.toml`` is the paper's study and has no prefix.
    """
    found: dict[str, tuple[Path, str | None]] = {}
    for path in sorted(STUDIES.glob("*.toml")):
        prefix = "" if path.stem == "blue" else f"{path.stem}-"
        found[f"{prefix}{EVERY}"] = path, None
        for part in load(path).parts:
            found[prefix + part] = path, part
    return found


def find(name_or_path: str, parts: Sequence[str] = ()) -> tuple[Path, Study]:
    """The file of a study and what of it is wanted: a shipped one by name, or a path, less all but ``parts``.

    Raises:
        ConfigError: there is none, it is not valid, or has no such part.
    """
    path, part = Path(name_or_path), None
    if not path.is_file():
        known = shipped()
        if name_or_path not in known:
            raise ConfigError(
                f"no study {name_or_path!r}: neither a file nor one of {', '.join(known)}"
                f"{recipe_errors.nearest(name_or_path, known)}"
            )
        path, part = known[name_or_path]
    study = load(path)
    wanted = [*parts, *([part] if part else [])]
    return path, study.only(wanted) if wanted else study


def load(path: Path, changes: Mapping[str, object] | None = None) -> Study:
    """Read a study file; ``changes`` replace what stands in it.

    Raises:
        ConfigError: with every problem found, one a line, each with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) | dict(changes or {})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the study: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise ConfigError(recipe_errors.explain(error, Study, path, text, content, [])) from error
