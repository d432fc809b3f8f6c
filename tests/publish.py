"""Make what stands behind the stored notebooks and is shown in them, and copy it to data/published/.

    python tests/publish.py        before the notebooks are executed in place; `make publish` does both

That is the notebooks' own runs (laptop profile, built-in data, seeds 0 to 2), and runs that are too long for a reader:
other splits, the poster's recipe on a smaller network, the sweep over labels and steps. An hour on 2 cores the first
time; complete runs are kept. Only some come with weights (`has_weights`) or snapshots of the training (`copy`).
"""

import shutil
from collections.abc import Iterator

from xraylib.experiments import EXPERIMENTS
from xraylib.files import shipped, write_json
from xraylib.noise import noisy_copies
from xraylib.predict.network import predict
from xraylib.runs.folder import Run, folder_of, published
from xraylib.runs.profiles import Config, configure
from xraylib.runs.sweep import sweep
from xraylib.show.errors import side_by_side
from xraylib.show.explore import snapshots
from xraylib.show.insides import statistics_over_training
from xraylib.slices.sets import Source, open_source

SEEDS = range(3)
PARTS = (0.0625, 0.25, 1, 2, 5, 15, 45, 105, 400)            # of notebook 4's second figure: slices, and steps
BUDGETS = (150, 750, 3000)
POSTERS = {"profile": "paper", "width": 16, "depth": 4, "crop": 256, "steps": 1500, "evaluations": 30}
SPARSE = {"n_train": 25, "n_val": 475}                       # few of all slices, so that some are far from them
MEMORISER = SPARSE | {"width": 32, "depth": 3, "steps": 2000}


def grids() -> Iterator[tuple[str, dict]]:
    """Experiment and parameters of everything that is published."""
    yield from (("01_baseline", parameters) for parameters in ({}, {"split": "block"}, SPARSE, MEMORISER))
    yield from (("02_noisy_train", {}), ("02_noisy_train", {"noise_std": 0}), ("02_noisy_train", {"split": "block"}))
    yield from (("03_noisy_val", {}), ("03_noisy_val", POSTERS))
    yield from (("04_size_sweep", {"n_train": n}) for n in EXPERIMENTS["04_size_sweep"].sizes)
    yield from (("04_size_sweep", {"n_train": n, "steps": steps}) for n in PARTS for steps in BUDGETS)


def configs() -> list[Config]:
    """Every configuration, once."""
    return list(dict.fromkeys(configure(name, {"profile": "laptop"} | parameters, seed=seed)
                              for name, parameters in grids() for seed in SEEDS))


def has_weights(config: Config) -> bool:
    """Whether a notebook shows pictures of this run, as it is stored or with another split or other sizes."""
    sizes = EXPERIMENTS[config.experiment].sizes
    own = config == configure(config.experiment, profile="laptop", n_train=config.n_train, seed=config.seed,
                              noise_std=config.noise_std, split=config.split)
    return own and config.n_train in (None, *(sizes if config.seed == 0 else (*sizes[:1], *sizes[-1:])))


def copy(config: Config, run: Run, source: Source) -> None:
    """Copy what is shown of one run."""
    target = folder_of(config, source.fingerprint, shipped() / "published")
    names = ["config.json", "history.csv", "result.json"]
    if has_weights(config):
        names.append("model.safetensors")
        if config.seed == 0 and config.experiment in ("01_baseline", "03_noisy_val"):
            names += [f"epochs/{path.name}" for path in snapshots(run).values()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.folder / name, target / name)
    if config.profile == "paper":
        few = source.test[:4]
        rows = statistics_over_training(snapshots(run), source.slices.some(20), noisy_copies(few, 5000, config.seed))
        write_json(target / "batch_norm.json", {"rows": rows})


def readme_figure(source: Source) -> None:
    """The same noisy slice by the networks of notebooks 2 and 3."""
    one = noisy_copies(source.test[:1], 5000, 0)
    names = {"03_noisy_val": "trained on clean slices", "02_noisy_train": "trained on clean and noisy slices"}
    guesses = [predict(published(name, n_seeds=1)[0].model(), one.images)[0] for name in names]
    figure = side_by_side(one.images[0], one.labels[0], guesses, list(names.values()))
    figure.savefig(shipped() / "published" / "same_slice.png", dpi=90)


if __name__ == "__main__":
    source, wanted = open_source("laptop"), configs()
    runs = sweep(wanted, source, workers=2)
    shutil.rmtree(shipped() / "published", ignore_errors=True)      # what breaks off here is whole after the next call
    for config, run in zip(wanted, runs, strict=True):
        copy(config, run, source)
    readme_figure(source)
