"""Independent pieces of work: in this process, on local worker processes, or on a Dask cluster."""

import asyncio
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any

import torch

from .files import home, said

ANSWER_WITHIN = 10  # seconds for a scheduler to answer
MOST_A_CORE = 4     # local workers


class WorkersError(RuntimeError):
    """The workers cannot be had; the message says why and what to do."""


def spread(call: Callable[[Any], Any], items: Sequence, workers: int = 0,
           scheduler: str = "") -> Iterator[tuple[int, Any]]:
    """``call(item)`` for every item: the index of each and what it returned, as they end.

    ``workers``: 0 for this process, one after the other, else so many local processes. ``scheduler``: the address of a
    Dask cluster (``tcp://...``) instead, whose machines must see `files.home`, the data and this library. What a killed
    worker had in hand is done by another. Raises `WorkersError`, before anything is begun where no scheduler answers
    or there are more workers than `MOST_A_CORE` says, and what ``call`` raises.
    """
    if not (workers or scheduler):
        return ((index, call(item)) for index, item in enumerate(items))
    most = MOST_A_CORE * (os.cpu_count() or 1)
    if workers > most:
        raise WorkersError(f"{workers} workers are more than this machine of {os.cpu_count()} cores can feed; give "
                           f"{most} or fewer, best one a core.")
    if find_spec("distributed") is None:
        raise WorkersError('workers need dask.distributed: pip install -e ".[cluster]"')
    if scheduler:
        _must_answer(scheduler)
    return _elsewhere(call, items, workers, scheduler)


def _elsewhere(call: Callable[[Any], Any], items: Sequence, workers: int, scheduler: str) -> Iterator[tuple[int, Any]]:
    threads = 0 if scheduler else max(1, (os.cpu_count() or 1) // workers)
    with _client(workers, scheduler) as client:
        from distributed import KilledWorker
        there, ended = partial(_there, call, str(home().resolve()), threads), SimpleQueue()
        futures = {client.submit(there, item, pure=False): index for index, item in enumerate(items)}
        try:
            for future in futures:
                future.add_done_callback(ended.put)
            for _ in futures:
                future = ended.get()            # unlike a wait of Dask's, Ctrl-C cannot leave a lock behind in this
                yield futures[future], future.result()
        except KilledWorker as error:
            raise WorkersError("a piece of work ended its worker again and again, most likely for lack of memory; what "
                               "is complete is kept: give the same command with fewer workers.") from error
        finally:
            client.cancel(list(futures))


def _there(call: Callable, place: str, threads: int, item: Any) -> Any:
    """``call(item)`` in a worker. ``place``: `files.home` of the caller. ``threads``: 0 as its environment says."""
    os.environ["XRAYLIB_HOME"] = place
    if threads:
        torch.set_num_threads(threads)
    return call(item)


def _leave_interrupts_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches a terminal's every process: the caller's is to act


def _must_answer(scheduler: str) -> None:
    """Raise `WorkersError` where no Dask scheduler is: a client would wait for ever for what only listens."""
    async def ask() -> None:
        from distributed import rpc
        async with rpc(scheduler) as there:
            await asyncio.wait_for(there.identity(), ANSWER_WITHIN)

    if not re.fullmatch(r"((tcp|tls|wss?)://)?[^\s/]+:\d{1,5}", scheduler):
        raise WorkersError(f"{scheduler!r} is no address of a Dask scheduler; give what it printed as it began, as "
                           "tcp://10.0.0.1:8786.")
    try:
        with ThreadPoolExecutor(1) as pool:     # a notebook's own thread has an event loop already
            pool.submit(lambda: asyncio.run(ask())).result()
    except Exception as error:                  # whatever stands there may answer anything
        raise WorkersError(f"no Dask scheduler answers at {scheduler} within {ANSWER_WITHIN} s ({said(error)}); start "
                           "one, or give the address that it printed (tcp://...).") from error


@contextmanager
def _client(workers: int, scheduler: str) -> Iterator:
    """A Dask client: of the cluster at this address, or of local worker processes that share the cores out.

    Dask has its workers give freed memory back to the system at once (MALLOC_TRIM_THRESHOLD_), and training gets it
    again page by page: twice the time. Local workers are started without that. What Dask writes into this process's
    environment for them is taken back.
    """
    import dask
    from distributed import Client, LocalCluster
    if scheduler:
        with Client(scheduler, timeout=ANSWER_WITHIN) as client:
            yield client
        return
    before = dict(os.environ)
    try:
        with dask.config.set({"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1}}):
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0",
                                   silence_logs=logging.CRITICAL)
            try:
                with Client(cluster) as client:
                    client.register_worker_callbacks(_leave_interrupts_alone)
                    yield client
            finally:
                with suppress(TimeoutError):    # a worker of a busy machine that does not end in time is killed
                    cluster.close()
    finally:
        os.environ.clear()
        os.environ.update(before)
