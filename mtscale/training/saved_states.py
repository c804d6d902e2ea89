"""Reading the states that DeepSpeed saves without running anything that stands in them.

They are pickles, and DeepSpeed unpickles them without restraint, so that a state from elsewhere could run any code. A
manifest tells only whether a state is the one it was made for: whoever makes both can make them agree. So nothing but
tensors, plain values and the few classes of DeepSpeed's own that its states hold is read.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address

from mtscale.errors import ConfigError

_CLASSES = [LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]


def read_state(path: str, map_location: Any = None) -> Any:
    """The content of a file that DeepSpeed has saved, in the place of ``TorchCheckpointEngine.load``.

    Raises:
        ConfigError: something else stands in it, or it is no such file. None of it has run.
    """
    try:
        with torch.serialization.safe_globals(_CLASSES):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        raise ConfigError(
            f"{path}: expected the weights and optimizer states that a run has saved, found other things in it, and "
            f"nothing of it was run. If {Path(path).parents[1]} is your own, remove it: the run goes on from the state "
            "before"
        ) from None
