"""How a failed run explains itself: what ran out, who is gone, and what may be told of an unexpected error."""

from __future__ import annotations

import contextlib
import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError

from mtscale.ds_config import ResolvedDsConfig
from mtscale.errors import MtscaleError

# Their messages are about the program or the machine. Those of other errors (KeyError, ValueError ...) may quote a
# value of the data, so only their type and place are told.
_SPEAKING_ERRORS = (OSError, MemoryError, RuntimeError, ImportError, AttributeError, TypeError, AssertionError)
# How gloo and NCCL tell that a peer is gone, and how torch and safetensors tell that a disk is full.
_LOST_RANK = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
_FULL_DISK = ("PytorchStreamWriter failed", "unexpected pos", "No space left on device", "Disk quota exceeded")
_CPU_ALLOCATOR = ("DefaultCPUAllocator", "not enough memory", "std::bad_alloc")


@contextlib.contextmanager
def explain_shortage(resolved: ResolvedDsConfig) -> Iterator[None]:
    """Turn running out of memory into advice: which largest micro-batch to set."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
            sign in str(error) for sign in _CPU_ALLOCATOR
        )
        if not short:
            raise
        advice = (
            f'set "train_micro_batch_size_per_gpu": {resolved.micro_batch // 2} in the DeepSpeed JSON '
            "(more accumulation, the same result)"
            if resolved.micro_batch > 1
            else "lower encoder.max_pieces, or take a smaller encoder or a larger machine: the micro-batch is 1 already"
        )
        raise MtscaleError(f"out of memory at micro-batch {resolved.micro_batch}: {advice}") from error


@contextlib.contextmanager
def explain_interruption(folder: Path) -> Iterator[None]:
    """Say in one message what ended the run in ``folder`` from outside, and how to go on: a full disk, a lost rank."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        go_on = f"`mtscale runs resume {folder}` goes on from the last checkpoint, which is whole"
        if _is_full_disk(error):
            raise MtscaleError(f"no space left on the disk of {folder}: make room there, then {go_on}") from error
        if any(sign in str(error) for sign in _LOST_RANK):
            raise MtscaleError(
                "another rank has ended: it has said why, or it was killed (by the system, where memory ran out). "
                f"{go_on}"
            ) from error
        raise


def _is_full_disk(error: Exception) -> bool:
    """Torch and safetensors write by themselves and raise no OSError."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return any(sign in str(error) for sign in _FULL_DISK)


def describe_error(error: BaseException) -> str:
    """One line for ``status.json`` and the log; never a value of the data."""
    if isinstance(error, MtscaleError):
        return str(error)
    message = f": {str(error).splitlines()[0]}" if isinstance(error, _SPEAKING_ERRORS) and str(error) else ""
    return f"{type(error).__name__}{message}"


def describe_place(error: BaseException) -> str:
    """Where an unexpected error came from: file, line and function of each frame, without source or values."""
    frames = traceback.extract_tb(error.__traceback__)
    return "\n".join(f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames)
