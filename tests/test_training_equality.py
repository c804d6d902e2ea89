"""1 rank = N ranks = accumulation = ZeRO 1 = a plain PyTorch loop, and heads that a step does not train do not move."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import tomli_w
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel

from mtscale import recipe
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.inputs.cache import EncodedSplit, open_split
from mtscale.inputs.encode import PieceVocabulary
from mtscale.inputs.schedule import Schedule
from mtscale.model.encoder import load_tokenizer
from mtscale.runs import RunDirectory, State
from mtscale.tasks import SAMPLE_TASKS, Kind, Task
from tests.lab import TRAIN, launch

WORKER = Path(__file__).with_name("equality_worker.py")
BATCH_SIZE, PEAK, WARMUP, DECAY, CLIP, EPOCHS, SEED = 32, 2e-3, 0.25, 0.05, 0.5, 2, 3
HIDDEN = 32
LOSS_WEIGHTS = {Kind.SIMILARITY: 0.3, Kind.RELATION: 2.0, Kind.INFERENCE: 1.0, Kind.TAGGING: 1.0}
TOLERANCE = 1e-5  # measured: losses 1e-6, weights 2e-7


@dataclass(frozen=True)
class Trained:
    """What a run has left: the loss of each step, and all weights after the last one."""

    folder: Path

    @cached_property
    def losses(self) -> list[float]:
        events = [event for event in RunDirectory(self.folder).events() if event.kind == "train"]
        assert [event.step for event in events] == list(range(1, len(events) + 1))
        return [event.values["train/loss"] for event in events]

    @cached_property
    def weights(self) -> Mapping[str, Tensor]:
        state = self.folder / "checkpoints" / f"step-{len(self.losses)}" / "deepspeed" / "mp_rank_00_model_states.pt"
        weights: Mapping[str, Tensor] = torch.load(state, weights_only=False)["module"]
        return weights


@dataclass(frozen=True)
class Mixture:
    """A recipe on the sample's five tasks, cut small, and where its runs go. All dropout is 0."""

    folder: Path
    encoder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.toml"

    def write(self) -> None:
        for corpus in {task.corpus for task in SAMPLE_TASKS}:
            for source in (SAMPLE_FOLDER / corpus).glob("*.t*"):
                if not source.name.startswith(("train", "dev", "test")):
                    continue
                text = source.read_text(encoding="utf-8")
                documents = text.split("\n\n")[:4]
                # 38 pairs: a whole mini-batch, and one that leaves some of many slices empty.
                short = "".join(text.splitlines(keepends=True)[:39])
                cut = short if source.suffix == ".tsv" else "\n\n".join(documents).rstrip("\n") + "\n"
                (self.folder / f"{corpus}.{source.name}").write_text(cut, encoding="utf-8")
        tables = [self._table(task) for task in SAMPLE_TASKS]
        refine = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": PEAK, "warmup": WARMUP}
        refine |= {"weight_decay": DECAY, "clip": CLIP}
        content = {"name": "small", "encoder": {"name": str(self.encoder), "max_pieces": 64}, "refine": refine}
        self.recipe.write_text(tomli_w.dumps({**content, "tasks": tables}), encoding="utf-8")

    def _table(self, task: Task) -> dict[str, object]:
        table: dict[str, object] = {"name": f"small-{task.name}", "kind": task.kind.value, "format": task.format}
        table["labels"] = task.labels
        table["files"] = {split: [f"{task.corpus}.{name}" for name in names] for split, names in task.files.items()}
        optional = {"negative": task.negative, "arguments": task.arguments, "relation": task.relation}
        table.update({key: value for key, value in optional.items() if value is not None})
        table["loss_weight"] = LOSS_WEIGHTS[task.kind]
        return table

    def train(self, ranks: int, micro_batch: int, zero_stage: int, loss_weights: str = "static") -> Trained:
        """Train under the shipped cpu-fp32.json, its micro-batch and ZeRO stage replaced."""
        name = f"ranks{ranks}-micro{micro_batch}-zero{zero_stage}-{loss_weights}"
        config = json.loads((TRAIN.parents[1] / "ds_configs" / "cpu-fp32.json").read_text(encoding="utf-8"))
        config |= {"train_micro_batch_size_per_gpu": micro_batch, "zero_optimization": {"stage": zero_stage}}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        options = ["--recipe", str(self.recipe), "--ds_config", str(path), "--seed", str(SEED), "--run", name]
        options += ["--set", "encoder.dropout=0.0", "--set", "refine.head_dropout=0.0"]
        options += ["--set", f'refine.loss_weights="{loss_weights}"']
        launch(TRAIN, ranks, [*options, "--runs", str(self.folder / "runs")], self.cache)
        run = RunDirectory(self.folder / "runs" / name)
        assert run.state() is State.FINISHED
        assert run.record.world_size == ranks
        return Trained(run.path)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Mixture:
    made = Mixture(tmp_path_factory.mktemp("mixture"), tiny_encoder)
    made.write()
    return made


@pytest.fixture(scope="module")
def one_rank(mixture: Mixture) -> Trained:
    return mixture.train(ranks=1, micro_batch=32, zero_stage=0)


# The same training, written without mtscale's model, batches, optimizer and engine


class PlainModel(nn.Module):
    """Hugging Face's own model with a linear layer per task, its weights as the documentation of the heads says."""

    def __init__(self, encoder: Path, splits: Mapping[str, EncodedSplit], *, learned_weights: bool) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(encoder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.heads: dict[str, nn.Linear] = {}
        self.log_variances: dict[str, nn.Parameter] = {}
        for task in (split.task for split in splits.values()):
            outputs = {Kind.SIMILARITY: 1, Kind.TAGGING: 1 + 2 * len(task.labels)}.get(task.kind, len(task.labels))
            head = nn.Linear(HIDDEN, outputs)
            generator = torch.Generator().manual_seed((SEED << 32) + zlib.crc32(task.name.encode()))
            head.weight.data = torch.normal(0.0, 0.02 * (768 / HIDDEN) ** 0.5, (outputs, HIDDEN), generator=generator)
            scores = splits[task.name].rows["score"] if task.kind is Kind.SIMILARITY else [0.0]
            head.bias.data.fill_(sum(scores) / len(scores))
            self.heads[task.name] = head
            self.add_module(f"head of {task.name}", head)
            self.log_variances[task.name] = nn.Parameter(torch.zeros(1))
            if learned_weights:
                self.register_parameter(f"log variance of {task.name}", self.log_variances[task.name])

    def loss(self, split: EncodedSplit, rows: Sequence[int]) -> Tensor:
        """The mean loss over the rows, read one at a time; words count as terms in tagging."""
        task = split.task
        total, terms = torch.zeros(()), 0
        for row in rows:
            facts = split.rows[int(row)]
            pieces = torch.tensor([facts["pieces"]])
            types = (torch.arange(pieces.shape[1]) >= (facts["second"] or math.inf)).long()[None]
            read = self.bert(input_ids=pieces, token_type_ids=types)
            head = self.heads[task.name]
            if task.kind is Kind.TAGGING:
                logits = head(read.last_hidden_state[0, facts["word_pieces"]])
                gold = torch.tensor(facts["word_labels"])
                total = total + functional.cross_entropy(logits, gold, reduction="sum")
                terms += len(gold)
            elif task.kind is Kind.SIMILARITY:
                total = total + (head(read.pooler_output).squeeze() - facts["score"]) ** 2
                terms += 1
            else:
                total = total - head(read.pooler_output).log_softmax(-1)[0, facts["label"]]
                terms += 1
        return total / terms


class PlainAdamax:
    """Adamax of Kingma and Ba 2015 (algorithm 2, with torch's epsilon), decay decoupled, clipped by the global norm."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters = list(model.parameters())
        self._moments = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._norms = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [0] * len(self._parameters)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        touched = [index for index, parameter in enumerate(self._parameters) if parameter.grad is not None]
        gradients = {index: self._parameters[index].grad for index in touched}
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values() if gradient is not None))
        for index, gradient in gradients.items():
            assert gradient is not None
            clipped = gradient * min(1.0, CLIP / norm)
            parameter, moment, largest = self._parameters[index], self._moments[index], self._norms[index]
            self._steps[index] += 1
            if parameter.ndim > 1:
                parameter.mul_(1 - rate * DECAY)
            moment.mul_(0.9).add_(clipped, alpha=0.1)
            largest.copy_(torch.maximum(0.999 * largest, clipped.abs() + 1e-8))
            parameter.sub_(rate / (1 - 0.9 ** self._steps[index]) * moment / largest)
            parameter.grad = None


def rates(steps: int) -> Iterator[float]:
    """The documented warm-up and decay: from the first step on above 0, the peak right after the warm-up."""
    rising = round(WARMUP * steps)
    yield from (PEAK * (step + 1) / (rising + 1) for step in range(rising))
    yield from (PEAK * left / (steps - rising) for left in range(steps - rising, 0, -1))


@dataclass(frozen=True)
class Plain:
    losses: list[float]
    weights: Mapping[str, Tensor]


@pytest.fixture(scope="module")
def plain(mixture: Mixture, one_rank: Trained) -> Plain:
    return plain_loop(mixture, learned_weights=False)


def plain_loop(mixture: Mixture, *, learned_weights: bool) -> Plain:
    """The plain loop on the rows that the first run has encoded."""
    loaded = recipe.load(mixture.recipe)
    tasks = [table.resolve(None, mixture.folder) for table in loaded.tasks]
    tokenizer = load_tokenizer(str(mixture.encoder))
    ids = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id
    vocabulary = PieceVocabulary(tokenizer.backend_tokenizer, *ids)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MTSCALE_CACHE", str(mixture.cache))
        splits = {task.name: open_split(task, "train", None, vocabulary, 64) for task in tasks}
    counts = [len(split.rows) for split in splits.values()]
    assert all(count % BATCH_SIZE for count in counts), f"a task divides into whole mini-batches: {counts}"
    assert any(count % BATCH_SIZE < 7 for count in counts), f"no mini-batch leaves one of 7 slices empty: {counts}"
    schedule = Schedule({name: split.lengths for name, split in splits.items()}, BATCH_SIZE, SEED)
    torch.set_num_threads(1)  # the matrices are tiny
    model = PlainModel(mixture.encoder, splits, learned_weights=learned_weights)
    optimizer = PlainAdamax(model)
    losses = []
    batches = [batch for epoch in range(1, EPOCHS + 1) for batch in schedule.epoch(epoch)]
    for batch, rate in zip(batches, rates(len(batches)), strict=True):
        loss = model.loss(splits[batch.task], batch.rows.tolist())
        kind = splits[batch.task].task.kind
        objective = loss
        if learned_weights:
            # Kendall et al. 2018: L / (2 s^2) + log s for a squared error, L / s^2 + log s for a cross-entropy.
            sigma = (model.log_variances[batch.task] / 2).exp()
            objective = loss / (2 if kind is Kind.SIMILARITY else 1) / sigma**2 + sigma.log()
        (objective * LOSS_WEIGHTS[kind]).sum().backward()
        optimizer.step(rate)
        losses.append(float(loss.detach()))
    return Plain(losses, {_name_in_mtscale(name): tensor for name, tensor in model.state_dict().items()})


def _name_in_mtscale(name: str) -> str:
    if name.startswith("head of "):
        task, _, weight = name.removeprefix("head of ").rpartition(".")
        return f"heads.{task}_head.output.{weight}"
    if name.startswith("log variance of "):
        return f"heads.{name.removeprefix('log variance of ')}_head.log_variance"
    inner = name.removeprefix("bert.")
    return inner if inner.startswith("pooler.") else f"encoder.{inner}"


def greatest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Over all weights but the biases of attention keys, which have no effect on a softmax over keys.

    Their gradient is rounding noise around zero, which Adamax scales to steps of full size.
    """
    assert one.keys() == other.keys()
    compared = [name for name in one if not re.search(r"attention\.self\.key\.bias$", name)]
    assert len(one) - len(compared) == 2
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in compared)


def assert_same(found: Trained, expected: Trained | Plain) -> None:
    differences = [abs(one - other) for one, other in zip(found.losses, expected.losses, strict=True)]
    weights = greatest_difference(found.weights, expected.weights)
    print(f"greatest difference of a loss {max(differences):.1e}, of a weight {weights:.1e}")
    assert max(differences) < TOLERANCE
    assert weights < TOLERANCE


def test_a_rank_alone_trains_like_a_plain_loop(one_rank: Trained, plain: Plain) -> None:
    assert_same(one_rank, plain)


@pytest.mark.parametrize(
    ("ranks", "micro_batch", "zero_stage"),
    [
        (2, 32, 0),
        pytest.param(2, 5, 1, marks=pytest.mark.slow),
        pytest.param(1, 5, 0, marks=pytest.mark.slow),
        pytest.param(1, 8, 1, marks=pytest.mark.slow),
        pytest.param(2, 8, 0, marks=pytest.mark.slow),
        pytest.param(2, 8, 2, marks=pytest.mark.slow),
    ],
)
def test_ranks_accumulation_and_zero_change_nothing(
    mixture: Mixture, one_rank: Trained, plain: Plain, ranks: int, micro_batch: int, zero_stage: int
) -> None:
    found = mixture.train(ranks, micro_batch, zero_stage)
    assert_same(found, one_rank)
    assert_same(found, plain)


@pytest.mark.slow
def test_learned_loss_weights_train_like_a_plain_loop(mixture: Mixture, one_rank: Trained) -> None:
    found = mixture.train(ranks=2, micro_batch=5, zero_stage=1, loss_weights="uncertainty")
    learned = [float(weight) for name, weight in found.weights.items() if name.endswith("log_variance")]
    assert len(learned) == len(SAMPLE_TASKS)
    assert all(abs(weight) > 10 * TOLERANCE for weight in learned)
    assert_same(found, plain_loop(mixture, learned_weights=True))
    last = [event for event in RunDirectory(found.folder).events() if event.kind == "train"][-1]
    assert sum(name.endswith("/loss_weight") for name in last.values) == len(SAMPLE_TASKS)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_idle_heads_stay_bit_identical_and_ranks_agree(ranks: int, tiny_encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "moved.json"
    launch(WORKER, ranks, [str(tiny_encoder), str(output)], tmp_path / "cache")
    records = json.loads(output.read_text(encoding="utf-8"))
    kinds = {task.name: task.kind for task in SAMPLE_TASKS}
    assert [record["zero"] for record in records] == [0] * 10 + [1] * 10
    for record in records:
        read_pooler = kinds[record["task"]] is not Kind.TAGGING
        assert record["moved"] == sorted(["encoder", record["task"], *(["pooler"] if read_pooler else [])]), record
        assert len(record["digests"]) == ranks
        assert len(set(record["digests"])) == 1, record
