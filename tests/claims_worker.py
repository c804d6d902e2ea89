"""One rank that measures facts of DeepSpeed and writes them: ``claims_worker.py [--local_rank=N] OUTPUT CLAIM...``.

A model of three small layers is enough: a body, and the heads ``a`` and ``b``, which are of the same size.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from torch import Tensor, nn

from mtscale.training import distributed
from mtscale.training.machine import probe
from mtscale.training.optimizer import TaskAdamax

Config = Mapping[str, object]
WIDTH = 8
FP16 = {"fp16": {"enabled": True, "initial_scale_power": 4, "hysteresis": 1}}
BF16 = {"bf16": {"enabled": True}}
HALF_AUTOCAST = {"torch_autocast": {"enabled": True, "dtype": "float16"}}


class Net(nn.Module):
    """The same weights on every rank and at every call."""

    def __init__(self, uneven: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(WIDTH, WIDTH)
        self.a = nn.Linear(WIDTH, 3)
        self.b = nn.Linear(WIDTH, 5 if uneven else 3)

    def forward(self, x: Tensor, head: str) -> Tensor:
        logits: Tensor = getattr(self, head)(torch.tanh(self.body(x)))
        return logits


def zero(stage: int, **more: object) -> Config:
    return {"zero_optimization": {"stage": stage, **more}}


@contextmanager
def training(
    config: Config, optimizer: Callable[..., Any] = torch.optim.SGD, *, uneven: bool = False, **options: object
) -> Iterator[Any]:
    """A DeepSpeed engine on a fresh ``Net``; one optimizer group a layer."""
    net = Net(uneven)
    groups = [{"params": list(layer.parameters())} for layer in (net.body, net.a, net.b)]
    client = optimizer(groups, **({"lr": 1.0} | options))
    base = {"train_micro_batch_size_per_gpu": 1, "zero_allow_untested_optimizer": True, "gradient_clipping": 0.0}
    engine, *_ = deepspeed.initialize(model=net, optimizer=client, config={**base, "log_level": "error", **config})
    engine.client = client
    yield engine
    engine.destroy()


def batch(number: int = 0, rank: int | None = None) -> Tensor:
    seed = 100 * number + (dist.get_rank() if rank is None else rank)
    return torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(seed))


def loss(net: nn.Module, x: Tensor, head: str) -> Tensor:
    weight = next(net.parameters())
    logits: Tensor = net(x.to(weight.dtype), head)
    return (logits.float() ** 2).sum()


def step(engine: Any, head: str = "a", number: int = 0, factor: float = 1.0) -> None:
    engine.backward(loss(engine, batch(number), head) * factor, scale_wrt_gas=False)
    engine.step()


def move(engine: Any, layer: str = "a") -> Tensor:
    """What plain gradient descent with rate 1 has taken from a layer's weight: its gradient."""
    before = getattr(Net(engine.module.b.out_features != 3), layer).weight
    return (before - getattr(engine.module, layer).weight.float()).detach()


def expected(number: int = 0, layer: str = "a", head: str = "a") -> Tensor:
    """The gradient of that layer, averaged over the ranks, in float32 and without DeepSpeed."""
    total = torch.zeros_like(getattr(Net(), layer).weight)
    for rank in range(dist.get_world_size()):
        net = Net()
        loss(net, batch(number, rank), head).backward()
        total += getattr(net, layer).weight.grad
    return total / dist.get_world_size()


def error(found: Tensor, wanted: Tensor) -> float:
    """The relative error, in the 2-norm."""
    return float((found - wanted).norm() / wanted.norm())


def refusal(config: Config, **options: Any) -> str:
    """The type of the error that DeepSpeed meets a config with; empty if it takes it."""
    try:
        with training(config, **options):
            return ""
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"


# One rank


def loss_scale() -> object:
    """The share of the gradient that reaches the weights."""
    shares = {}
    for stage in (0, 1):
        with training({**FP16, **zero(stage)}) as engine:
            step(engine)
            shares[stage] = float(move(engine).norm() / expected().norm())
    return shares


def decaying_adamax(groups: list[dict[str, Any]], lr: float) -> TaskAdamax:
    return TaskAdamax([group | {"decay": 0.5, "active": True} for group in groups], lr=lr)


def first_step() -> object:
    """Optimizer steps counted, and how far the float32 weights have moved, before the first batch."""
    found = {}
    for stage in (0, 1):
        with training({**BF16, **zero(stage)}, decaying_adamax, lr=0.1) as engine:
            states = [float(state["step"]) for state in engine.client.state.values()]
            weight = engine.client.param_groups[0]["params"][0].detach().flatten()[: WIDTH * WIDTH]
            moved = float((weight - Net().body.weight.detach().bfloat16().float().flatten()).abs().max())
            found[stage] = [max(states, default=0.0), moved]
    return found


def half_autocast() -> object:
    """The norm of a step clipped to 1, and the scale before and after three overflows."""
    clipped, scales = {}, []
    for stage in (0, 1):
        with training({**HALF_AUTOCAST, **zero(stage), "gradient_clipping": 1.0}) as engine:
            step(engine, factor=0.5)  # larger gradients would overflow at the first scale
            start = Net().state_dict()
            moves = [start[name] - tensor for name, tensor in engine.module.state_dict().items()]
            clipped[stage] = math.sqrt(sum(float((moved**2).sum()) for moved in moves))
    with training({**HALF_AUTOCAST, **zero(1)}) as engine:
        scaler = engine.optimizer.torch_autocast_gradscaler
        for _ in range(3):
            scales.append(scaler.get_scale())
            step(engine, factor=1e36)
        scales.append(scaler.get_scale())
    return {"clipped": clipped, "scales": scales}


def idle_heads() -> object:
    """How far plain Adamax moves a head without a gradient, by stage; ``reduced`` is False without the reduction."""
    moved = {}
    for stage, reduced in ((0, True), (0, False), (1, True), (2, True)):
        with training(zero(stage), torch.optim.Adamax, lr=0.01) as engine:
            engine.enable_backward_allreduce = reduced
            step(engine, "a")
            before = engine.module.a.weight.detach().clone()
            step(engine, "b", number=1)
            moved[f"{stage} {reduced}"] = float((engine.module.a.weight - before).abs().max())
    return moved


def norms() -> object:
    """The norm that is reported, by stage, and the error of clipping where none is computed."""
    found: dict[str, object] = {}
    for stage in (0, 1):
        with training(zero(stage)) as engine:
            step(engine)
            norm = engine.get_global_grad_norm()
            found[str(stage)] = None if norm is None else float(norm)
    found["refused"] = refusal({**zero(1, compute_grad_norm=False), "gradient_clipping": 1.0})
    return found


def overflow_check() -> object:
    """Whether the weights are finite after a gradient that is not, with and without the check."""
    found = {}
    for checked in (True, False):
        with training({"bf16": {"enabled": True, "check_grad_overflow": checked}, **zero(1)}) as engine:
            step(engine, factor=math.nan)
            found[str(checked)] = bool(torch.isfinite(engine.module.a.weight).all())
    return found


def dynamic_scale() -> object:
    """The scales and whether the step was taken, over overflows; and the end, at the smallest scale."""
    with training({**FP16, **zero(1)}) as engine:
        seen = []
        for factor in (1.0, math.inf, math.inf, 1.0, math.inf, math.inf):
            step(engine, factor=factor)
            seen.append([engine.optimizer.loss_scale, bool(engine.was_step_applied())])
        try:
            step(engine, factor=math.inf)
            end = ""
        except Exception as problem:
            end = str(problem)
    return {"seen": seen, "end": end}


def wrappers() -> object:
    """DeepSpeed's optimizer for each combination."""
    fp32_sum = {"data_types": {"grad_accum_dtype": "fp32"}}
    names = {}
    for name, config in {
        "fp32 0": zero(0),
        "fp32 1": zero(1),
        "bf16 0": {**BF16, **zero(0)},
        "bf16 1": {**BF16, **zero(1)},
        "bf16 1 fp32 sum": {**BF16, **zero(1), **fp32_sum},
        "bf16 2 fp32 sum": {**BF16, **zero(2), **fp32_sum},
    }.items():
        with training(config) as engine:
            names[name] = type(engine.optimizer).__name__
    return names


def refusals() -> object:
    """The errors that some configs meet, and none for an unknown top-level key."""
    adamax = {"optimizer": torch.optim.Adamax}
    return {
        "untested optimizer": refusal({**zero(1), "zero_allow_untested_optimizer": False}, **adamax),
        "offload": refusal(zero(1, offload_optimizer={"device": "cpu"}), **adamax),
        "elasticity": refusal({"elasticity": {"enabled": True}}),
        "misspelt in a block": refusal(zero(1, reduce_buket_size=1)),
        "misspelt at the top": refusal({"zero_optimisation": {"stage": 1}}),
        "misspelt in checkpoint": refusal({"checkpoint": {"tag_validaton": "FAIL"}}),
        "fp16 masters": refusal({"fp16": {"enabled": True, "fp16_master_weights_and_grads": True}, **zero(1)}),
    }


def universal() -> object:
    """The error of DeepSpeed's converter on a checkpoint with Adamax's moments."""
    from deepspeed.checkpoint import ds_to_universal

    with tempfile.TemporaryDirectory() as folder, training(zero(1), torch.optim.Adamax, lr=0.01) as engine:
        step(engine)
        engine.save_checkpoint(folder, tag="saved")
        (state,) = Path(folder, "saved").glob("*_optim_states.pt")
        moments = torch.load(state, weights_only=False)["optimizer_state_dict"]["base_optimizer_state"]["state"][0]
        options = argparse.Namespace(input_folder=f"{folder}/saved", output_folder=f"{folder}/universal")
        options.__dict__ |= {"num_extract_workers": 1, "num_merge_workers": 1, "keep_temp_folder": False}
        options.__dict__ |= {"strict": True, "inject_missing_state": True}
        try:
            ds_to_universal.main(options)
            problem = ""
        except Exception as found:
            problem = f"{type(found).__name__}: {found}"
    return {"moments": sorted(moments), "problem": problem}


def shm_operator() -> object:
    """How often DeepSpeed asks for its C++ operator, with the entry that mtscale sets and without it."""
    backend: Any = importlib.import_module("deepspeed.comm.torch")
    asked: list[bool] = []
    builder: Any = type(get_accelerator().create_op_builder("ShareMemCommBuilder"))
    builder.load = lambda self, verbose=True: asked.append(True)
    backend.build_shm_op()
    before = len(asked)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = True
    backend.build_shm_op()
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return [before, len(asked)]


# Several ranks


def tasks_apart(uneven: bool = False) -> object:
    """Rank 0 trains head a, rank 1 head b: the error of head a's gradient, against its sum over two ranks."""
    errors = {}
    for stage in (0, 1):
        with training(zero(stage), uneven=uneven) as engine:
            step(engine, "ab"[dist.get_rank()])
            net = Net()
            loss(net, batch(rank=0), "a").backward()
            assert net.a.weight.grad is not None
            errors[stage] = error(move(engine), net.a.weight.grad / 2)
    return errors


def tasks_apart_uneven() -> object:
    return tasks_apart(uneven=True)


def reductions() -> object:
    """The error of head a's gradient if the last of two micro-batches is head b's, by setting and stage."""
    errors = {}
    for name, setting in {
        "plain": {},
        "overlap": {"overlap_comm": True},
        "apart": {"contiguous_gradients": False},
    }.items():
        for stage in (1, 2):
            with training({**zero(stage, **setting), "gradient_accumulation_steps": 2}) as engine:
                step(engine, "a")
                step(engine, "b", number=1)
                errors[f"{name} {stage}"] = error(move(engine), expected())
    return errors


def communication() -> object:
    """The error of the body's gradient that its reduction over the ranks adds, in 16 bit and in float32."""
    errors = {}
    for name, block in (("bf16", BF16), ("fp16", FP16)):
        for dtype in (name, "fp32"):
            with training({**block, **zero(1), "communication_data_type": dtype}) as engine:
                net = Net().to(engine.module.a.weight.dtype)
                loss(net, batch(), "a").backward()
                assert net.body.weight.grad is not None
                own = net.body.weight.grad.double()
                dist.all_reduce(own)
                step(engine)
                masters = torch.cat([group.flatten() for group in _masters(engine)])[: WIDTH * WIDTH]
                start = Net().body.weight.detach().to(net.a.weight.dtype).double().flatten()
                errors[f"{name} {dtype}"] = error(start - masters.double(), own.flatten() / dist.get_world_size())
    return errors


def _masters(engine: Any) -> list[Tensor]:
    """The float32 weights of the first group, of all ranks in order."""
    own = engine.optimizer.single_partition_of_fp32_groups[0].detach()
    parts = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("claims", nargs="+")
    parser.add_argument("--local_rank")
    options = parser.parse_args()
    ranks = distributed.ranks_from_environment()
    distributed.start(ranks, probe())
    supported = get_accelerator().is_fp16_supported()
    found = {"fp16 supported": bool(supported), "fp16 here": "" if supported else refusal({**FP16, **zero(1)})}
    # DeepSpeed asks the processor, which multiplies fp16 slowly but well enough for a few steps of a tiny model.
    type(get_accelerator()).is_fp16_supported = lambda self: True
    found |= {name: globals()[name]() for name in options.claims}
    if ranks.is_main:
        options.output.write_text(json.dumps(found), encoding="utf-8")
    distributed.finish()


if __name__ == "__main__":
    main()
