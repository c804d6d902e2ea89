"""A process that trains one unit after another and pays for its imports once: ``python -m mtscale.study.worker``.

On standard input a line for each unit, the options of ``mtscale/train.py`` as a JSON list; for each an answer line on
standard output, ``ANSWER`` and the JSON ``[exit code, message]``. It ends with its input, or after a failure. What
else is printed goes where standard error goes.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys

from mtscale.errors import EXIT_FAILED, EXIT_FINISHED, MtscaleError
from mtscale.training import job
from mtscale.training.console import log_to_console
from mtscale.training.launch import TRAIN
from mtscale.training.queued import Queue

ANSWER = "unit done: "


def main() -> int:
    """Train what is asked for, one unit at a time."""
    os.umask(0o077)
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    log_to_console(is_main=True)
    for line in sys.stdin:
        code, message = train_unit(json.loads(line))
        answers.write(ANSWER + json.dumps([code, message]) + "\n")
        answers.flush()
        if code == EXIT_FAILED:
            # What a failed unit has left in this process must not reach the next one.
            return EXIT_FAILED
        # An engine holds its weights in cycles.
        gc.collect()
    return EXIT_FINISHED


def train_unit(words: list[str]) -> tuple[int, str]:
    """Train the runs of one command in this process; the exit code, and what went wrong."""
    parser = argparse.ArgumentParser(prog="mtscale/train.py")
    job.add_options(parser)
    # What `run.json` keeps, and `mtscale runs resume` goes on with.
    sys.argv = [str(TRAIN), *words]
    try:
        checked = job.check(parser.parse_args(words))
    except MtscaleError as error:
        return error.exit_code, str(error)
    if checked.machine.accelerator == "cpu":
        # Unasked, DeepSpeed looks itself and prints that it has found no GPU.
        os.environ["DS_ACCELERATOR"] = "cpu"
    from mtscale.training.failures import describe_error, describe_place
    from mtscale.training.stages import train

    try:
        with Queue(checked, sys.argv, world_size=1):
            return train(checked), ""
    except MtscaleError as error:
        return error.exit_code, str(error)
    except Exception as error:
        logging.getLogger("mtscale").error("%s\n%s", describe_error(error), describe_place(error))
        return EXIT_FAILED, describe_error(error)


if __name__ == "__main__":
    sys.exit(main())
