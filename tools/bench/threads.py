"""Time training steps on all threads and on one, alone and beside a busy program, in turn.

    python tools/bench/threads.py
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from bench import report, seconds_in_turn

from xraylib.datasets import built_in
from xraylib.device import set_threads
from xraylib.params import PROFILES
from xraylib.training import TrainingState, train


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Run programs beside this one that each keep one core busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
               for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def five_steps(state: TrainingState, threads: int) -> None:
    """Train for five more steps on this many threads (0: as the library chooses)."""
    set_threads(threads)
    state.steps = state.step + 5
    train(state, state_slices)


if __name__ == "__main__":
    state_slices = built_in(48, 501, 0)
    state = TrainingState(PROFILES["laptop"], state_slices, 0)
    state.evaluation_steps = []
    most, rows, numbers = torch.get_num_threads(), [], {}
    for programs in (0, 1, 2):
        with busy(programs):
            seconds = seconds_in_turn(5, all=partial(five_steps, state, most),
                                      one=partial(five_steps, state, 1),
                                      chosen=partial(set_threads, 0))
            chosen = set_threads()
        rows.append([f"{programs}", *(f"{1e3 * seconds[name] / 5:.0f} ms" for name in
                                      ("all", "one")), f"{chosen}",
                     f"{1e3 * seconds['chosen']:.0f} ms"])
        numbers[f"{programs}"] = seconds | {"chosen": chosen}
    report("threads", ["busy programs beside it", f"a step on {most} threads", "on one thread",
                       "threads chosen", "time to choose"], rows, **numbers)
