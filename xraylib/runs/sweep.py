"""Grids of runs, in this process or on a Dask cluster; each run is a pure function of its configuration."""

import re
import reprlib
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from math import prod
from typing import Any

from tqdm import tqdm

from ..files import replace
from ..slices.sets import Source, open_source, outline
from ..workers import spread
from .folder import Run, execute, folder_of, load
from .parameters import ParameterError
from .profiles import IDLE, Config, configure

ERROR = "error.txt"  # in the folder of a run that failed: its traceback
MOST_RUNS = 100_000
WORDS = {"True": True, "False": False, "None": None}


class SweepError(RuntimeError):
    """Some runs of a sweep failed; the message names them and says where their tracebacks are."""


def values(text: str) -> list[str | int | bool | None]:
    """The values of one axis of a grid: "5,10,15" or, whole numbers from 0 up to 4, "0:5"."""
    start, colon, stop = text.partition(":")
    if not colon:
        return [WORDS.get(value, value) for value in text.split(",")]
    if not (re.fullmatch(r"\d{1,18}:\d{1,18}", text) and 0 < int(stop) - int(start) <= MOST_RUNS):
        raise ParameterError(f"{reprlib.repr(text)} is no range of values, or one of more than {MOST_RUNS:,}; write "
                             "0:5 for 0, 1, 2, 3, 4, or list them: 0,3,7.")
    return list(range(int(start), int(stop)))


def grid(experiment: str, axes: Mapping[str, Sequence], /, **fixed: Any) -> list[Config]:
    """Every combination of the axes' values (parameter name -> values), the last axis fastest.

    Raises `ParameterError` for an axis that a run has no use for, two points that are the same run, and too many.
    """
    idle = [name for name in axes if name in IDLE]
    if idle:
        raise ParameterError(f"a sweep has no use for {idle[0]}; vary what a run depends on, as -p seed=0:3.")
    size = prod(len(values) for values in axes.values())
    if size > MOST_RUNS:
        raise ParameterError(f"these parameters make {size:,} runs; a sweep has {MOST_RUNS:,} at most.")
    found: dict[Config, dict] = {}
    for point in (dict(zip(axes, values, strict=True)) for values in product(*axes.values())):
        same = found.setdefault(configure(experiment, fixed, **point), point)
        if same is not point:
            one, other = (", ".join(f"{name}={value}" for name, value in each.items()) for each in (same, point))
            raise ParameterError(f"{one} and {other} are the same run of {experiment}; give each value once, and vary "
                                 "only what it depends on.")
    return list(found)


def attempt(config: Config, source: Source, reuse: bool) -> tuple[str, str]:
    """Run one configuration: its folder and "", or the traceback of what went wrong, which the folder keeps too."""
    folder = folder_of(config, source.fingerprint)
    try:
        folder = execute(config, source, reuse, bar=False).folder
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
    return open_source(*origin)  # once a worker process, whatever the number of its runs


def attempt_elsewhere(origin: tuple[str, str], fingerprint: str, reuse: bool, config: Config) -> tuple[str, str]:
    """`attempt` in a worker process, which opens the data itself."""
    return attempt(config, _opened(origin, fingerprint), reuse)


def sweep(configs: Sequence[Config], source: Source, reuse: bool = False, workers: int = 0,
          scheduler: str = "") -> list[Run]:
    """The runs of these configurations, in their order: complete ones are read, killed ones resume, the rest train.

    ``workers``, ``scheduler``: see `workers.spread`. Raises `DataError` before anything starts where the sets of one
    cannot be drawn, and `SweepError` when all has ended and some runs failed.
    """
    for config in configs:
        config.draw(outline(source.slices.numbers))
    call = (partial(attempt_elsewhere, source.origin, source.fingerprint, reuse) if workers or scheduler
            else partial(attempt, source=source, reuse=reuse))
    outcomes: dict[int, tuple[str, str]] = {}
    try:
        with tqdm(total=len(configs), desc="sweep", unit="run", smoothing=0, miniters=1) as bar:
            for index, outcome in spread(call, configs, workers, scheduler):
                outcomes[index] = outcome
                bar.update()
    except KeyboardInterrupt:
        raise SweepError(f"stopped after {len(outcomes)} of {len(configs)} runs; the same command goes on: complete "
                         "runs are kept, those that were running resume.") from None
    failed = [f"{folder}: {error.strip().splitlines()[-1]}" for folder, error in outcomes.values() if error]
    if failed:
        raise SweepError(f"{len(failed)} of {len(configs)} runs failed, the others are complete; the same command runs "
                         f"the failed ones again, and {ERROR} in their folders has the traceback. {'; '.join(failed)}")
    return [load(outcomes[index][0]) for index in range(len(configs))]
