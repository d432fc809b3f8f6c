"""Independent tasks: in this process, on local worker processes or on a Dask cluster."""

import asyncio
import faulthandler
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from .errors import WorkersError, one_line_message
from .files import home, real_path

SCHEDULER_TIMEOUT = 10  # seconds for a scheduler to answer
START_TIMEOUT = 120  # seconds for the local workers to start
NOTICE_AFTER, MAX_NOTICES = 10, 360  # seconds per wait; waits without any worker until an error
MAX_WORKERS_PER_CORE = 4


def map_tasks(call: Callable[[Any], Any], items: Sequence, workers: int = 0,
              scheduler: str = "") -> Iterator[tuple[int, Any]]:
    """Call a function for every item; yield each item's index and result as soon as it is done.
    Args:
        call, items: The function, and its arguments. A call is repeated if its worker is killed.
        workers: Number of local processes; 0: in this process, one call after the other.
        scheduler: Address of a Dask cluster (``tcp://...``) to use instead. Its machines need this
            library and must see `home()` and the data.
    Raises: WorkersError: No scheduler answers, there are too many workers, or a call kills them.
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
    results = _map_on_cluster(call, items, workers, scheduler)
    next(results)  # raises if workers cannot start, before anything is written
    return results


def _map_on_cluster(call: Callable[[Any], Any], items: Sequence, workers: int,
                    scheduler: str) -> Iterator[tuple[int, Any]]:
    """Call a function for every item on a cluster; first, yield once when the cluster is ready."""
    from distributed import Client, KilledWorker
    threads = 0 if scheduler else max(1, (os.cpu_count() or 1) // workers)
    task = partial(_run_in_worker, call, str(real_path(home())), threads)
    finished: SimpleQueue = SimpleQueue()
    log = logging.getLogger("distributed.client")  # its tracebacks repeat our own errors
    with ExitStack() as stack:
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)
        try:
            address = scheduler or stack.enter_context(_local_cluster(workers))
            client = stack.enter_context(Client(address, timeout=SCHEDULER_TIMEOUT))
        except (OSError, RuntimeError) as error:  # too many open files, processes or threads
            raise WorkersError(f"the workers cannot start ({one_line_message(error)}). Give "
                               "fewer or none, or raise your limits (ulimit -a).") from error
        yield 0, None
        indices = {future: i for i, future in enumerate(client.map(task, items, pure=False))}
        try:
            for future in indices:
                future.add_done_callback(finished.put)
            for _ in indices:
                future = _next_finished(finished, client, address)
                yield indices[future], future.result()
        except KilledWorker as error:
            raise WorkersError("a task ended its worker again and again, most likely for lack of "
                               "memory. What is complete is kept: give the same command with fewer "
                               "workers.") from error
        except CancelledError as error:
            raise WorkersError("the Dask scheduler stopped. What is complete is kept: start it "
                               "and give the same command again.") from error


def _next_finished(finished: SimpleQueue, client: Any, address: str) -> Any:
    """Wait for a task to finish; raise `WorkersError` if there is no worker for too long."""
    alone = 0  # consecutive waits without any worker
    while True:
        with suppress(Empty):  # Ctrl-C can interrupt this wait, but not Dask's own
            return finished.get(timeout=NOTICE_AFTER)
        alone = 0 if client.scheduler_info()["workers"] else alone + 1
        if alone == 1:
            tqdm.write(f"The Dask scheduler at {address} has no worker. Waiting for up to "
                       f"{MAX_NOTICES * NOTICE_AFTER // 60} minutes.", sys.stderr)
        if alone == MAX_NOTICES:
            raise WorkersError(f"the Dask scheduler at {address} has no worker. Start one (dask "
                               f"worker {address}), and give the same command again.")


def _run_in_worker(call: Callable, home_folder: str, threads: int, item: Any) -> Any:
    """Call a function in a worker, with the caller's home folder (threads 0: unchanged)."""
    import torch  # not needed in the process that only starts workers
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
def _local_cluster(workers: int) -> Iterator[str]:
    """Start a scheduler and its workers in a separate process; yield the scheduler's address.

    This way, workers neither import the reader's script nor receive the terminal's Ctrl-C. They end
    when their standard input closes, even if this process is killed.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-c", "from xraylib import workers; "
                   f"workers.serve_cluster({workers}, {folder!r}, {START_TIMEOUT})"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with (Path(folder, "log").open("wb") as log,
              Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, text=True, env=environment,
                    start_new_session=True) as process):
            try:
                assert process.stdout
                if address := process.stdout.readline().strip():
                    yield address
                text = Path(folder, "log").read_text(errors="replace")
                if not address:
                    causes = re.findall(r"^(?:\S*Error: |Timeout).*", text, re.MULTILINE)
                    raise RuntimeError([*causes, f"exit status {process.wait()}"][0])
                sys.stderr.write(text)  # warnings of the workers
            finally:
                process.kill()


def serve_cluster(workers: int, folder: str, timeout: float) -> None:
    """Start local workers, print their scheduler's address, and run until standard input closes.
    Args:
        workers, folder: Number of workers, and the folder of their temporary files.
        timeout: Seconds for workers to start. If the system refuses threads, Dask waits forever.
    """
    faulthandler.dump_traceback_later(timeout, exit=True)
    import dask
    from distributed import LocalCluster
    pipe = os.dup(1)  # for the address alone: what workers print goes to the log
    os.dup2(2, 1)
    # Override Dask's setting, so that workers keep freed memory. This halves training time.
    with (dask.config.set({"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": "1"}}),
          LocalCluster(n_workers=workers, threads_per_worker=1, processes=True,
                       dashboard_address=None, silence_logs=logging.CRITICAL,
                       local_directory=folder,
                       scheduler_kwargs={"dashboard_address": "127.0.0.1:0"}) as cluster):
        faulthandler.cancel_dump_traceback_later()
        os.write(pipe, f"{cluster.scheduler_address}\n".encode())
        sys.stdin.read()
        os._exit(0)
