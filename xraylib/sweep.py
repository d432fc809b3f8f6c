"""Grids of runs, in this process or on a Dask cluster; each run is a pure function of its configuration."""

import logging
import os
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from tqdm import tqdm

from . import runs, sets
from .parameters import ParameterError
from .predict import replace
from .profiles import Config, configure
from .runs import Run, folder_of
from .sets import Source

ERROR = "error.txt"  # in the folder of a run that failed: its traceback


class SweepError(RuntimeError):
    """Some runs of a sweep failed; the message names them and says where their tracebacks are."""


def values(text: str) -> list[str | int]:
    """The values of one axis of a grid: "5,10,15" or, whole numbers from 0 up to 4, "0:5"."""
    start, colon, stop = text.partition(":")
    if not colon:
        return text.split(",")
    if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise ParameterError(f"{text!r} is no range of values; write 0:5 for 0, 1, 2, 3, 4, or list them: 0,3,7.")
    return list(range(int(start), int(stop)))


def grid(experiment: str, axes: Mapping[str, Sequence], **fixed: Any) -> list[Config]:
    """Every combination of the axes' values (parameter name -> values), the last axis fastest."""
    return [configure(experiment, fixed, **dict(zip(axes, point, strict=True))) for point in product(*axes.values())]


def attempt(config: Config, source: Source, reuse: bool) -> tuple[str, str]:
    """Run one configuration: its folder and "", or the traceback of what went wrong, which the folder keeps too."""
    folder = folder_of(config, source.fingerprint)
    try:
        folder = runs.execute(config, sets.prepare(config, source), reuse, bar=False).folder
    except Exception:  # one failed run must not stop the others: it is recorded here, and raised when all have ended
        error = traceback.format_exc()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace(folder / ERROR, lambda part: part.write_text(error))
        except OSError as second:
            error = f"({ERROR} could not be written: {second})\n{error}"
        return str(folder), error
    (folder / ERROR).unlink(missing_ok=True)
    return str(folder), ""


@lru_cache(maxsize=1)
def _opened(origin: tuple[str, str], _fingerprint: str) -> Source:
    return sets.open_source(*origin)  # once a worker process, whatever the number of its runs


def attempt_elsewhere(config: Config, origin: tuple[str, str], fingerprint: str, reuse: bool, place: str,
                      threads: int) -> tuple[str, str]:
    """`attempt` in a worker process, which opens the data itself.

    ``place``: `sets.home` of the caller. ``threads``: that a worker may use (0: as its environment says).
    """
    os.environ["XRAYLIB_HOME"] = place
    if threads:
        torch.set_num_threads(threads)
    return attempt(config, _opened(origin, fingerprint), reuse)


def _leave_interrupts_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches a terminal's every process: the caller's is to act


@contextmanager
def _client(workers: int, scheduler: str) -> Iterator:
    """A Dask client: of the cluster at this address, or of local worker processes that share the cores out."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise SweepError('workers need dask.distributed: pip install -e ".[cluster]"') from error
    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    with (LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None,
                       silence_logs=logging.CRITICAL) as cluster, Client(cluster) as client):
        client.register_worker_callbacks(_leave_interrupts_alone)
        yield client


def _outcomes(configs: Sequence[Config], source: Source, reuse: bool, workers: int,
              scheduler: str) -> Iterator[tuple[int, str, str]]:
    """Index, folder and error of each run, as they end."""
    if not (workers or scheduler):
        for index, config in enumerate(configs):
            yield index, *attempt(config, source, reuse)
        return
    threads = 0 if scheduler else max(1, (os.cpu_count() or 1) // workers)
    rest = source.origin, source.fingerprint, reuse, str(sets.home().resolve()), threads
    with _client(workers, scheduler) as client:
        from distributed import as_completed
        futures = {client.submit(attempt_elsewhere, config, *rest, pure=False): index
                   for index, config in enumerate(configs)}
        try:
            for future, outcome in as_completed(futures, with_results=True):
                yield futures[future], *outcome
        finally:
            client.cancel(list(futures))


def sweep(configs: Sequence[Config], source: Source, reuse: bool = False, workers: int = 0,
          scheduler: str = "") -> list[Run]:
    """The runs of these configurations, in their order: complete ones are read, killed ones resume, the rest train.

    ``workers``: 0 for this process, else so many local processes. ``scheduler``: the address of a Dask cluster
    (``tcp://...``) instead, whose machines must see `sets.home` and the data. Raises `SweepError` when all has ended
    and some runs failed.
    """
    outcomes = {}
    bar = tqdm(total=len(configs), desc="sweep", unit="run", smoothing=0)
    try:
        with bar:
            for index, folder, error in _outcomes(configs, source, reuse, workers, scheduler):
                outcomes[index] = folder, error
                bar.update()
    except KeyboardInterrupt:
        raise SweepError(f"stopped after {len(outcomes)} of {len(configs)} runs; the same command goes on: complete "
                         "runs are kept, those that were running resume.") from None
    failed = [f"{folder}: {error.strip().splitlines()[-1]}" for folder, error in outcomes.values() if error]
    if failed:
        raise SweepError(f"{len(failed)} of {len(configs)} runs failed, the others are complete; the same command runs "
                         f"the failed ones again, and {ERROR} in their folders has the traceback. {'; '.join(failed)}")
    return [runs.load(outcomes[index][0]) for index in range(len(configs))]
