"""From a study to its runs: each is trained once, whatever number of tables and fine-tunings need it. Without torch.

A *unit* is what one command trains: a recipe with one seed. Its name holds the hash of its recipe, so that studies in
the same folder share what they have in common, and a changed study never takes up another one's run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from mtscale import recipe, recipe_errors
from mtscale.errors import ConfigError
from mtscale.recipe import Protocol, Recipe
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
    """A place in a table: the runs of all seeds that give its scores, by seed.

    ``clean`` are the runs of the same model under protocol ``clean``, for a cell of another protocol, where the study
    has them.
    """

    task: str
    runs: Mapping[int, str]
    clean: Mapping[int, str] = field(default_factory=dict)


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


def pretraining_recipe(source: EncoderSource, folder: Path) -> Path:
    """The recipe that makes an encoder: a file beside the study, or as ``recipe.find`` finds it.

    Raises:
        ConfigError: there is none.
    """
    beside = folder / source.pretrain
    return beside if beside.is_file() else recipe.find(source.pretrain)


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
    protocol: Protocol
    finetune: bool = False
    affinities: bool = False


# What makes two trainings one: protocol, encoder, tasks.
_Key = tuple[Protocol, str, frozenset[str]]


class _Planner:
    """Collects what rows and figure want, then names it."""

    def __init__(self, study: Study, folder: Path, runs: Path, size: Size) -> None:
        self._study, self._folder, self._runs, self._size = study, folder, runs, size
        self._wanted: dict[_Key, _Wanted] = {}
        self._units: dict[tuple[_Key, int], Unit] = {}

    def plan(self) -> Plan:
        """Everything."""
        for table, row, domain in self._rows():
            self._want_row(row, domain, self._study.protocol_of(table))
        for domain, encoder in self._sampled():
            self._want("refined", domain, encoder, self._study.tasks_of(domain)).affinities = True
        for _, encoder, pair in self._pairs():
            self._want("pair", "+".join(pair), encoder, pair)
            for task in pair:
                self._want("single", task, encoder, (task,))
        pretraining = self._pretrain()
        for key, wanted in self._wanted.items():
            for seed in self._study.seeds:
                self._units[key, seed] = self._unit(wanted, seed, pretraining)
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

    def _sampled(self) -> Iterator[tuple[str, str]]:
        """Domain and encoder of the models whose affinities are set against the figure."""
        figure = self._study.figure
        if figure is not None and figure.affinity_every is not None:
            yield from figure.encoders.items()

    def _want_row(self, row: Row, domain: str, protocol: Protocol) -> None:
        if row.model == "single":
            for task in self._study.tasks_of(domain):
                self._want("single", task, row.encoder, (task,), protocol)
            return
        together = row.trained_on or domain
        wanted = self._want("refined", together, row.encoder, self._study.tasks_of(together), protocol)
        wanted.finetune = wanted.finetune or row.model == "finetuned"

    def _want(
        self, kind: UnitKind, called: str, encoder: str, tasks: tuple[str, ...], protocol: Protocol | None = None
    ) -> _Wanted:
        protocol = protocol or self._study.protocol
        # A pair that is a whole domain, or a domain of one task, is the same training under another name.
        key = protocol, encoder, frozenset(tasks)
        return self._wanted.setdefault(key, _Wanted(kind, called, encoder, tasks, protocol))

    def _pretrain(self) -> dict[str, Unit]:
        """The units that make encoders, by encoder."""
        used = {wanted.encoder for wanted in self._wanted.values()}
        made = {}
        for name, source in self._study.encoders.items():
            if isinstance(source, EncoderSource) and name in used:
                path = pretraining_recipe(source, self._folder)
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
        # Named by the encoder's training and not by its place, so that a study may be moved with its runs.
        hashed = self._recipe(wanted, needs[0]) if needs else made
        called = [
            wanted.kind,
            wanted.called,
            wanted.encoder,
            *([] if wanted.protocol == "clean" else [wanted.protocol]),
        ]
        name = "-".join([*called, hashed.hash()[:8], f"seed{seed}"])
        return Unit(name, wanted.kind, wanted.encoder, wanted.tasks, seed, made, self._folder.resolve(), needs)

    def _recipe(self, wanted: _Wanted, encoder: str) -> Recipe:
        settings, size = self._study.settings, self._size
        refine = settings.refine | ({"epochs": size.epochs} if size.epochs else {})
        if wanted.affinities:
            assert self._study.figure is not None
            refine["affinity_every"] = self._study.figure.affinity_every
        content: dict[str, Any] = {
            "name": f"{wanted.kind}-{wanted.called}".replace("+", "-")[:80],
            "stages": ["refine", "finetune"] if wanted.finetune else ["refine"],
            "protocol": wanted.protocol,
            "encoder": {**settings.encoder, "name": encoder},
            "refine": refine,
            "tasks": [self._task(name) for name in wanted.tasks],
        }
        if wanted.finetune:
            content["finetune"] = settings.finetune | ({"epochs": size.finetune_epochs} if size.finetune_epochs else {})
        if settings.paper and wanted.protocol == "paper":
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

    def _by_seed(self, key: _Key, task: str, *, finetuned: bool = False) -> dict[int, str]:
        return {seed: self._units[key, seed].run_of(task, finetuned=finetuned) for seed in self._study.seeds}

    def _cells(self) -> dict[str, dict[str, dict[str, Cell]]]:
        found: dict[str, dict[str, dict[str, Cell]]] = {key: {} for key in self._study.tables}
        for key, row, domain in self._rows():
            found[key][row.label] = {
                task: self._cell(task, row, domain, self._study.protocol_of(key))
                for task in self._study.tasks_of(domain)
            }
        return found

    def _cell(self, task: str, row: Row, domain: str, protocol: Protocol) -> Cell:
        tasks = frozenset((task,) if row.model == "single" else self._study.tasks_of(row.trained_on or domain))
        finetuned = row.model == "finetuned"
        clean: dict[int, str] = {}
        if protocol != "clean":
            wanted = self._wanted.get(("clean", row.encoder, tasks))
            if wanted is not None and (wanted.finetune or not finetuned):
                clean = self._by_seed(("clean", row.encoder, tasks), task, finetuned=finetuned)
        return Cell(task, self._by_seed((protocol, row.encoder, tasks), task, finetuned=finetuned), clean)

    def _edges(self) -> Iterator[Edge]:
        for domain, encoder, pair in self._pairs():
            for source, target in (pair, pair[::-1]):
                both, one = ((self._study.protocol, encoder, frozenset(tasks)) for tasks in (pair, (target,)))
                yield Edge(domain, source, target, self._by_seed(both, target), self._by_seed(one, target))


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
    fewer = {one.name: one.train_documents for one in study.tasks if one.train_documents}
    own = [f"{name} {limit:,}" for name, limit in fewer.items() if documents is None or limit < documents]
    used += f" ({', '.join(own)})" if own else ""
    limits = sorted({one.choosing_documents for one in study.tasks if one.choosing_documents})
    chosen = f"; the epoch is chosen on at most {_listed(limits)} documents of dev" if limits else ""
    return f"{_protocols(study)}, seeds {_listed(study.seeds)}; {epochs}; {used}{chosen}; {_whole(plan)} whole."


def _protocols(study: Study) -> str:
    others = [key for key in study.tables if study.protocol_of(key) != study.protocol]
    beside = f" ({study.protocol_of(others[0])} in table {', '.join(others)})" if others else ""
    return f"Protocol {study.protocol}{beside}"


def _whole(plan: Plan) -> str:
    """The splits that a limit of documents leaves alone: under protocol ``paper`` dev is trained on."""
    if any(one.choosing_documents for one in plan.study.tasks):
        return "test"
    if plan.size.documents is None or "paper" not in plan.study.protocols:
        return "dev and test"
    return "test" if plan.study.protocols == ("paper",) else "test, and dev where it chooses,"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
