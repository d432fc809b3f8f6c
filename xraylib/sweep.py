"""Many runs: all combinations of parameter values, in this process or on workers."""

import itertools
import re
import reprlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any

from tqdm import tqdm

from .datasets import Dataset, dummy_slices, open_dataset
from .errors import ParameterError, SweepError, one_line_message
from .files import atomic_file
from .params import RunConfig, configure
from .runs import Run, folder_of, run_experiment
from .workers import map_tasks

ERROR_FILE = "error.txt"  # in the folder of a run that failed: its traceback
MAX_RUNS = 100_000
NOTEBOOK_ONLY = {"data_dir", "volume", "n_seeds", "sizes", "crops", "voxel_nm", "use_published",
                 "example", "fold"}


def parse_values(text: str) -> list[Any]:
    """Read the values of one parameter, such as "5,10,15", or "0:5" for the numbers 0 to 4.
    Raises: ParameterError if the text looks like a range but is invalid or too long.
    """
    words = {"True": True, "False": False, "None": None}
    start, colon, stop = text.partition(":")
    if not colon:
        return [words.get(value, value) for value in text.split(",")]
    if not (re.fullmatch(r"\d{1,18}:\d{1,18}", text) and 0 < int(stop) - int(start) <= MAX_RUNS):
        raise ParameterError(f"{reprlib.repr(text)} is not a range of at most {MAX_RUNS:,} values. "
                             "Write 0:5 for 0, 1, 2, 3, 4, or list the values: 0,3,7.")
    return list(range(int(start), int(stop)))


def parameter_grid(experiment: str, axes: Mapping[str, Sequence], /,
                   **fixed: Any) -> list[RunConfig]:
    """Make the configurations of all combinations of parameter values.
    Args:
        experiment: Name of the experiment.
        axes, fixed: Values by parameter (the last varies fastest), and parameters with one value.
    Raises: ParameterError: A value is impossible, two runs would be equal, or there are too many.
    """
    if unused := [name for name in axes if name in NOTEBOOK_ONLY]:
        raise ParameterError(f"a sweep does not use {unused[0]}. Vary what a run depends on, such "
                             "as -p seed=0:3. --use-published takes published runs.")
    if (size := prod(len(values) for values in axes.values())) > MAX_RUNS:
        raise ParameterError(f"these parameters make {size:,} runs, but a sweep has at most "
                             f"{MAX_RUNS:,}.")
    configs: dict[RunConfig, dict] = {}
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        same = configs.setdefault(configure(experiment, fixed, **point), point)
        if same is not point:
            one, other = (", ".join(f"{name}={value}" for name, value in each.items())
                          for each in (same, point))
            raise ParameterError(f"{one} and {other} are the same run of {experiment}. Give each "
                                 "value once, and vary only what the run depends on.")
    return list(configs)


def run_sweep(configs: Sequence[RunConfig], dataset: Dataset, use_published: bool = False,
              workers: int = 0, scheduler: str = "") -> list[Run]:
    """Return the runs of these configurations: complete ones are read, the others trained.
    Args:
        configs, dataset: One configuration per run, and the data of all of them.
        use_published: Take published runs instead of training them.
        workers, scheduler: See `map_tasks`.
    Raises: DataError, WorkersError: The sets of a run cannot be drawn, or the workers cannot start.
        SweepError: Some runs failed, or Ctrl-C stopped the sweep.
    """
    for config in configs:
        config.draw(dummy_slices(dataset.slices.numbers))
    open_data = (partial(_open_once, dataset.origin, dataset.fingerprint)
                 if workers or scheduler else lambda: dataset)
    tasks = map_tasks(partial(_attempt, open_data, use_published), configs, workers, scheduler)
    bar = tqdm(tasks, "sweep", len(configs), unit="run", smoothing=0, miniters=1)
    outcomes: dict[int, Run | str] = {}
    try:
        for index, outcome in bar:
            outcomes[index] = outcome
    except KeyboardInterrupt:
        raise SweepError(f"stopped after {len(outcomes)} of {len(configs)} runs. The same command "
                         "continues: complete runs are kept, interrupted runs resume.") from None
    if failed := [outcome for outcome in outcomes.values() if isinstance(outcome, str)]:
        raise SweepError(f"{len(failed)} of {len(configs)} runs failed, the others are complete. "
                         "The same command runs the failed ones again, and "
                         f"{ERROR_FILE} in their folders has the traceback. {'; '.join(failed)}")
    return [run for _, run in sorted(outcomes.items()) if isinstance(run, Run)]


@lru_cache(maxsize=1)
def _open_once(origin: tuple[str, str], _fingerprint: str) -> Dataset:
    """Open the data once per worker process."""
    return open_dataset(*origin, min_slices=1)


def _attempt(open_data: Callable[[], Dataset], use_published: bool, config: RunConfig) -> Run | str:
    """Return the run of one configuration, or its folder and error, so that other runs go on."""
    dataset = open_data()
    folder = folder_of(config, dataset.fingerprint)
    try:
        run = run_experiment(config, dataset, use_published, progress=False)
    except Exception as error:
        message = f"{folder}: {type(error).__name__}: {one_line_message(error)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(folder / ERROR_FILE, "w") as file:
                traceback.print_exception(error, file=file)
        except OSError as second:
            message += f" ({ERROR_FILE} could not be written: {one_line_message(second)})"
        return message
    (folder / ERROR_FILE).unlink(missing_ok=True)
    return run
