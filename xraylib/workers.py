"""Independent tasks: in this process, on local worker processes or on a Dask cluster."""

import asyncio
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any

import torch

from .errors import WorkersError, one_line_message
from .files import home

SCHEDULER_TIMEOUT = 10  # seconds for a scheduler to answer
MAX_WORKERS_PER_CORE = 4


def map_tasks(call: Callable[[Any], Any], items: Sequence, workers: int = 0,
              scheduler: str = "") -> Iterator[tuple[int, Any]]:
    """Call a function for every item; yield the index of each item and its result as they end.
    Args:
        call, items: The function, and its arguments. A call is repeated if its worker is killed.
        workers: Number of local processes; 0: in this process, one call after the other.
        scheduler: Address of a Dask cluster (``tcp://...``) to use instead. Its machines need this
            library and must see `home()` and the data.
    Raises: WorkersError: No scheduler answers, workers are too many, or a call ends its workers.
    """
    if not (workers or scheduler):
        return enumerate(map(call, items))
    cores = os.cpu_count() or 1
    if workers > (most := MAX_WORKERS_PER_CORE * cores):
        raise WorkersError(f"{workers} workers are more than this machine of {cores} cores can "
                           f"feed. Give {most} or fewer, best one per core.")
    if find_spec("distributed") is None:
        raise WorkersError('workers need dask.distributed: pip install -e ".[cluster]"')
    if scheduler:
        _require_answer(scheduler)
    return _map_on_cluster(call, items, workers, scheduler)


def _map_on_cluster(call: Callable[[Any], Any], items: Sequence, workers: int,
                    scheduler: str) -> Iterator[tuple[int, Any]]:
    """Call a function for every item on a cluster."""
    from distributed import Client, KilledWorker
    threads = 0 if scheduler else max(1, (os.cpu_count() or 1) // workers)
    task = partial(_run_in_worker, call, str(home().resolve()), threads)
    finished: SimpleQueue = SimpleQueue()
    with (nullcontext(scheduler) if scheduler else _local_cluster(workers) as cluster,
          Client(cluster, timeout=SCHEDULER_TIMEOUT) as client):
        if not scheduler:  # Ctrl-C reaches all processes of a terminal: leave it to this one
            client.register_worker_callbacks(partial(signal.signal, signal.SIGINT, signal.SIG_IGN))
        indices = {future: i for i, future in enumerate(client.map(task, items, pure=False))}
        try:
            for future in indices:
                future.add_done_callback(finished.put)
            for _ in indices:
                future = finished.get()  # Ctrl-C can interrupt this wait, but not Dask's own
                yield indices[future], future.result()
        except KilledWorker as error:
            raise WorkersError("a task ended its worker again and again, most likely for lack of "
                               "memory. What is complete is kept: give the same command with fewer "
                               "workers.") from error
        except CancelledError as error:
            raise WorkersError("the Dask scheduler stopped. What is complete is kept: start it "
                               "and give the same command again.") from error


def _run_in_worker(call: Callable, home_folder: str, threads: int, item: Any) -> Any:
    """Call a function in a worker that has the caller's home folder (threads 0: its own number)."""
    os.environ["XRAYLIB_HOME"] = home_folder
    torch.set_num_threads(threads or torch.get_num_threads())
    return call(item)


def _require_answer(scheduler: str) -> None:
    """Raise `WorkersError` if no Dask scheduler answers; a client would wait forever."""
    from distributed import rpc

    async def ask() -> None:
        async with rpc(scheduler) as there:
            await asyncio.wait_for(there.identity(), SCHEDULER_TIMEOUT)

    if not re.fullmatch(r"((tcp|tls|wss?)://)?[^\s/]+:\d{1,5}", scheduler):
        raise WorkersError(f"{scheduler!r} is not the address of a Dask scheduler. Give what it "
                           "printed when it started, such as tcp://10.0.0.1:8786.")
    try:
        with ThreadPoolExecutor(1) as pool:  # the thread of a notebook already has an event loop
            pool.submit(asyncio.run, ask()).result()
    except Exception as error:  # anything may listen at that address
        raise WorkersError(f"no Dask scheduler answers at {scheduler} within {SCHEDULER_TIMEOUT} s "
                           f"({one_line_message(error)}). Start one, or give the address that it "
                           "printed (tcp://...).") from error


@contextmanager
def _local_cluster(workers: int) -> Iterator:
    """Start worker processes for a while. They keep freed memory, which halves training time."""
    from distributed import LocalCluster, Nanny

    def nanny(*args: Any, **options: Any) -> Nanny:
        made = Nanny(*args, **options)
        made.pre_spawn_env, made.env = {}, {"OMP_NUM_THREADS": "1"}  # not this process's own
        return made

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, worker_class=nanny,
                           processes=True, dashboard_address=None, silence_logs=logging.CRITICAL,
                           scheduler_kwargs={"dashboard_address": "127.0.0.1:0"})
    try:
        yield cluster
    finally:
        with suppress(TimeoutError):  # a busy worker that does not end in time is killed
            cluster.close()
