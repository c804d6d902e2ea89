"""Train a recipe: ``deepspeed mtscale/train.py --ds_config ds_configs/v100.json [--recipe NAME|FILE] ...``.

One process a rank, started by the ``deepspeed`` launcher (``mtscale train`` does that for you) or alone. What can be
refused is refused here, before torch is loaded.
"""

import argparse
import logging
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's own folder first, where modules could hide others; mtscale is found from its parent.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from mtscale.errors import EXIT_FAILED, MtscaleError
from mtscale.training import job
from mtscale.training.console import log_to_console


def main() -> int:
    """Run the command of this process; returns the exit code."""
    parser = argparse.ArgumentParser(prog="mtscale/train.py", description="Train a recipe.")
    job.add_options(parser)
    options = parser.parse_args()
    os.umask(0o077)
    log_to_console(is_main=os.environ.get("RANK", "0") == "0")
    logger = logging.getLogger("mtscale")
    try:
        checked = job.check(options)
    except MtscaleError as error:
        # All ranks of a host meet the same refusal, and one tells it. The launcher ends that one as soon as another
        # has ended, so the others give it the time.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            logger.error("%s", error)
        else:
            time.sleep(2.0)
        return error.exit_code

    if checked.machine.accelerator == "cpu":
        # Unasked, DeepSpeed looks itself and says on standard output, where a plan may go, that it has found no GPU.
        os.environ["DS_ACCELERATOR"] = "cpu"

    from mtscale.training.failures import describe_error, describe_place
    from mtscale.training.stages import train

    try:
        return train(checked)
    except MtscaleError as error:
        # Any rank may be the first to meet it, and the launcher then ends the others before they tell it.
        logger.error("%s", error)
        return error.exit_code
    except Exception as error:
        rank = os.environ.get("RANK", "0")
        logger.error("rank %s failed: %s\n%s", rank, describe_error(error), describe_place(error))
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
