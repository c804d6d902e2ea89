"""The ranks of a run: who am I, and the few things ranks tell each other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from mtscale.ds_config import Machine
from mtscale.training.machine import free_port
from mtscale.training.meeting import meeting_file

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run."""

    rank: int
    local_rank: int
    world_size: int
    local_world_size: int

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the only one that writes."""
        return self.rank == 0


def ranks_from_environment() -> Ranks:
    """The place the launcher gave this process; a process without a launcher is the only one."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    return Ranks(
        rank=int(os.environ.get("RANK", "0")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        world_size=world_size,
        local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("LOCAL_SIZE", world_size))),
    )


def start(ranks: Ranks, machine: Machine) -> torch.device:
    """Join the ranks and return this one's device."""
    if machine.accelerator == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    for name, value in alone.items():
        os.environ.setdefault(name, value)
    if "MASTER_PORT" not in os.environ:
        os.environ["MASTER_PORT"] = str(free_port())
    on_one_host = ranks.local_world_size == ranks.world_size and os.environ["MASTER_ADDR"] in {"127.0.0.1", "localhost"}
    if on_one_host:
        # All on this host: gloo would take the address that its name has, and so one on a network.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

    import deepspeed

    # DeepSpeed would compile a C++ operator that only its inference uses, and fail where no compiler is.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if machine.accelerator == "cpu":
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(max(1, cores // ranks.local_world_size))
        # Denormal numbers, common late in training, are ten times slower on a CPU.
        torch.set_flush_denormal(True)
        device = torch.device("cpu")
    else:
        torch.cuda.set_device(ranks.local_rank)
        device = torch.device("cuda", ranks.local_rank)
    place = None
    # torchrun's agent keeps the store on the port itself.
    if on_one_host and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        place = f"file://{meeting_file(ranks.rank, ranks.world_size, int(os.environ['MASTER_PORT']))}"
    deepspeed.init_distributed(
        dist_backend="gloo" if machine.accelerator == "cpu" else "nccl",
        init_method=place,
        rank=ranks.rank,
        world_size=ranks.world_size,
        verbose=False,
    )
    return device


def finish() -> None:
    """Leave the ranks, so that this process may join others."""
    if dist.is_initialized():
        import deepspeed

        # torch's own would leave DeepSpeed with groups that are gone.
        deepspeed.comm.destroy_process_group()


def gather(value: T, ranks: Ranks) -> list[T]:
    """The values of all ranks in the order of ranks, on rank 0; an empty list elsewhere."""
    if ranks.world_size == 1:
        return [value]
    gathered: list[T | None] | None = [None] * ranks.world_size if ranks.is_main else None
    dist.gather_object(value, gathered, dst=0)
    return [entry for entry in gathered if entry is not None] if gathered else []


def broadcast(value: T, ranks: Ranks) -> T:
    """Rank 0's value, on every rank."""
    if ranks.world_size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def sum_over_ranks(values: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """The element-wise sum over the ranks, on every rank."""
    if ranks.world_size > 1:
        dist.all_reduce(values)
    return values


def barrier(ranks: Ranks) -> None:
    """Wait for every rank."""
    if ranks.world_size > 1:
        dist.barrier()
