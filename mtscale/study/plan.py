"""From a study to its runs: each is trained once, whatever number of tables and fine-tunings need it. Without torch.

A *unit* is what one command trains: a recipe with one seed. Its name holds the hash of its recipe, so that studies in
the same folder share what they have in common, and a changed study never takes up another one's run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from mtscale import recipe, recipe_errors
from mtscale.errors import ConfigError
from mtscale.recipe import Recipe
from mtscale.study.spec import EncoderSource, Row, Study

UnitKind = Literal["pretrain", "single", "refined", "pair"]


@dataclass(frozen=True)
class Size:
    """How much is trained: what a time budget may reduce. ``documents``: so many training documents a task, or all."""

    epochs: int | None = None
    finetune_epochs: int | None = None
    documents: int | None = None


@dataclass(frozen=True)
class Unit:
    """One command. ``needs`` are the units that must be finished before.

    ``beside`` is the folder where files of one's own lie that the recipe names.
    """

    name: str
    kind: UnitKind
    encoder: str
    tasks: tuple[str, ...]
    seed: int
    recipe: Recipe
    beside: Path
    needs: tuple[str, ...] = ()

    @property
    def finetuned(self) -> tuple[str, ...]:
        """The tasks that the refined model is trained on for, each in a run of its own."""
        return self.tasks if "finetune" in self.recipe.stages else ()

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of its run directories, in the order in which they are trained."""
        return (self.name, *(self.run_of(task, finetuned=True) for task in self.finetuned))

    def run_of(self, task: str, *, finetuned: bool) -> str:
        """The run that holds a task's score."""
        return f"{self.name}-finetune-{task}" if finetuned else self.name


@dataclass(frozen=True)
class Cell:
    """A place in a table: the runs of all seeds that give its scores, by seed."""

    task: str
    runs: Mapping[int, str]


@dataclass(frozen=True)
class Edge:
    """Trained together with ``source``, what becomes of ``target``: the pair's runs, and ``target``'s alone."""

    domain: str
    source: str
    target: str
    pair: Mapping[int, str]
    alone: Mapping[int, str]


@dataclass(frozen=True)
class Plan:
    """All units in an order in which they can be trained, and where each table's numbers come from."""

    study: Study
    size: Size
    units: tuple[Unit, ...]
    cells: Mapping[str, Mapping[str, Mapping[str, Cell]]] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()


def make(study: Study, folder: Path, runs: Path, size: Size = Size()) -> Plan:
    """The plan of a study whose file lies in ``folder``, with its runs under ``runs``.

    Raises:
        ConfigError: the settings make no valid recipe, or a pretraining recipe is none.
    """
    return _Planner(study, folder, runs, size).plan()


@dataclass
class _Wanted:
    """A training that rows ask for, before it is known whether its model is trained on as well."""

    kind: UnitKind
    called: str
    encoder: str
    tasks: tuple[str, ...]
    finetune: bool = False


class _Planner:
    """Collects what rows and figure want, then names it."""

    def __init__(self, study: Study, folder: Path, runs: Path, size: Size) -> None:
        self._study, self._folder, self._runs, self._size = study, folder, runs, size
        self._wanted: dict[tuple[str, frozenset[str]], _Wanted] = {}
        self._units: dict[tuple[str, frozenset[str], int], Unit] = {}

    def plan(self) -> Plan:
        """Everything."""
        for _, row, domain in self._rows():
            self._want_row(row, domain)
        for _, encoder, pair in self._pairs():
            self._want("pair", "+".join(pair), encoder, pair)
            for task in pair:
                self._want("single", task, encoder, (task,))
        pretraining = self._pretrain()
        for key, wanted in self._wanted.items():
            for seed in self._study.seeds:
                self._units[(*key, seed)] = self._unit(wanted, seed, pretraining)
        units = (*pretraining.values(), *self._units.values())
        return Plan(self._study, self._size, units, self._cells(), tuple(self._edges()))

    def _rows(self) -> Iterator[tuple[str, Row, str]]:
        for key, table in self._study.tables.items():
            for row in table.rows:
                yield key, row, table.tasks

    def _pairs(self) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """Domain, encoder and the two tasks of each pair of the figure."""
        figure = self._study.figure
        if figure is None:
            return
        seen = set()
        for domain, encoder in figure.encoders.items():
            for pair in combinations(self._study.tasks_of(domain), 2):
                seen.add(frozenset(pair))
                yield domain, encoder, pair
        if figure.across:
            everything = list(
                dict.fromkeys(task for domain in figure.encoders for task in self._study.tasks_of(domain))
            )
            encoder = next(iter(figure.encoders.values()))
            for pair in combinations(everything, 2):
                if frozenset(pair) not in seen:
                    yield "across", encoder, pair

    def _want_row(self, row: Row, domain: str) -> None:
        if row.model == "single":
            for task in self._study.tasks_of(domain):
                self._want("single", task, row.encoder, (task,))
            return
        together = row.trained_on or domain
        tasks = self._study.tasks_of(together)
        self._want("refined", together, row.encoder, tasks, finetune=row.model == "finetuned")

    def _want(
        self, kind: UnitKind, called: str, encoder: str, tasks: tuple[str, ...], *, finetune: bool = False
    ) -> None:
        # A pair that is a whole domain, or a domain of one task, is the same training under another name.
        wanted = self._wanted.setdefault((encoder, frozenset(tasks)), _Wanted(kind, called, encoder, tasks))
        wanted.finetune = wanted.finetune or finetune

    def _pretrain(self) -> dict[str, Unit]:
        """The units that make encoders, by encoder."""
        used = {wanted.encoder for wanted in self._wanted.values()}
        made = {}
        for name, source in self._study.encoders.items():
            if isinstance(source, EncoderSource) and name in used:
                path = recipe.find(source.pretrain)
                loaded = recipe.load(path)
                if loaded.stages != ("pretrain",):
                    raise ConfigError(f"encoders.{name}: {path} has stages other than ['pretrain']; name one that has")
                seed = loaded.seeds[0]
                unit = f"pretrain-{name}-{loaded.hash()[:8]}-seed{seed}"
                made[name] = Unit(unit, "pretrain", name, (), seed, loaded, path.parent.resolve())
        return made

    def _unit(self, wanted: _Wanted, seed: int, pretraining: Mapping[str, Unit]) -> Unit:
        source = self._study.encoders[wanted.encoder]
        needs: tuple[str, ...] = ()
        if isinstance(source, str):
            encoder = source
        else:
            before = pretraining[wanted.encoder].name
            encoder, needs = str(encoder_folder(self._runs / before)), (before,)
        made = self._recipe(wanted, encoder)
        name = f"{wanted.kind}-{wanted.called}-{wanted.encoder}-{made.hash()[:8]}-seed{seed}"
        return Unit(name, wanted.kind, wanted.encoder, wanted.tasks, seed, made, self._folder.resolve(), needs)

    def _recipe(self, wanted: _Wanted, encoder: str) -> Recipe:
        settings, size = self._study.settings, self._size
        content: dict[str, Any] = {
            "name": f"{wanted.kind}-{wanted.called}".replace("+", "-")[:80],
            "stages": ["refine", "finetune"] if wanted.finetune else ["refine"],
            "protocol": self._study.protocol,
            "encoder": {**settings.encoder, "name": encoder},
            "refine": settings.refine | ({"epochs": size.epochs} if size.epochs else {}),
            "tasks": [self._task(name) for name in wanted.tasks],
        }
        if wanted.finetune:
            content["finetune"] = settings.finetune | ({"epochs": size.finetune_epochs} if size.finetune_epochs else {})
        if settings.paper:
            content["paper"] = settings.paper
        try:
            return Recipe.model_validate(content)
        except ValidationError as error:
            told = recipe_errors.problems(error, Recipe, content)
            lines = [f"{recipe_errors.dotted(where)}: {message}" for where, message in told]
            raise ConfigError(
                f"study {self._study.name}: its settings make no valid recipe\n" + "\n".join(lines)
            ) from None

    def _task(self, name: str) -> dict[str, Any]:
        table = next(task for task in self._study.tasks if task.name == name)
        content = table.model_dump(mode="json", exclude_unset=True)
        if self._size.documents is not None:
            given = content.get("train_documents", self._size.documents)
            content["train_documents"] = min(given, self._size.documents)
        return content

    def _by_seed(self, encoder: str, tasks: Sequence[str], task: str, *, finetuned: bool = False) -> dict[int, str]:
        key = encoder, frozenset(tasks)
        return {seed: self._units[(*key, seed)].run_of(task, finetuned=finetuned) for seed in self._study.seeds}

    def _cells(self) -> dict[str, dict[str, dict[str, Cell]]]:
        found: dict[str, dict[str, dict[str, Cell]]] = {key: {} for key in self._study.tables}
        for key, row, domain in self._rows():
            together = self._study.tasks_of(row.trained_on or domain)
            found[key][row.label] = {
                task: Cell(
                    task,
                    self._by_seed(
                        row.encoder,
                        (task,) if row.model == "single" else together,
                        task,
                        finetuned=row.model == "finetuned",
                    ),
                )
                for task in self._study.tasks_of(domain)
            }
        return found

    def _edges(self) -> Iterator[Edge]:
        for domain, encoder, pair in self._pairs():
            for source, target in (pair, pair[::-1]):
                yield Edge(
                    domain,
                    source,
                    target,
                    self._by_seed(encoder, pair, target),
                    self._by_seed(encoder, (target,), target),
                )


def encoder_folder(run: Path) -> Path:
    """Where a pretraining run leaves its encoder."""
    return run.absolute() / "checkpoints" / "best" / "encoder"


def size_text(plan: Plan) -> str:
    """How much is trained, in a sentence."""
    study, documents = plan.study, plan.size.documents
    recipes = [unit.recipe for unit in plan.units if unit.kind != "pretrain"]
    refine = sorted({recipe.refine.epochs for recipe in recipes})
    finetune = sorted({recipe.finetune.epochs for recipe in recipes if "finetune" in recipe.stages})
    epochs = f"{_listed(refine)} epochs of refine" + (f", {_listed(finetune)} of finetune" if finetune else "")
    used = "all training documents" if documents is None else f"at most {documents:,} training documents of each task"
    return f"Protocol {study.protocol}, seeds {_listed(study.seeds)}; {epochs}; {used}; dev and test whole."


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
