"""Copy the runs behind the stored notebooks (laptop profile, built-in data, seeds 0 to 2) to data/published/.

    python tests/publish.py        after the notebooks were executed in place; `make publish` does both

Snapshots come with the first seed where a notebook shows them; of the sweep, the fewest and the most slices come with
weights.
"""

import shutil
from itertools import product

from xraylib.experiments import EXPERIMENTS
from xraylib.files import shipped
from xraylib.runs.folder import folder_of, load
from xraylib.runs.profiles import configure
from xraylib.slices.sets import open_source

SNAPSHOTS = ("01_baseline", "03_noisy_val")


def publish(experiment: str, n_train: int | None, seed: int, fingerprint: str) -> None:
    """Copy what is shown of one run."""
    config, sizes = configure(experiment, profile="laptop", n_train=n_train, seed=seed), EXPERIMENTS[experiment].sizes
    run, target = load(folder_of(config, fingerprint)), folder_of(config, fingerprint, shipped() / "published")
    names = ["config.json", "history.csv", "result.json"]
    if n_train in (None, *sizes[:1], *sizes[-1:]):
        names.append("model.safetensors")
    if seed == 0 and experiment in SNAPSHOTS:
        names += [f"epochs/{path.name}" for path in (run.folder / "epochs").iterdir()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.folder / name, target / name)
    if (experiment, seed) == ("03_noisy_val", 0):       # the README's figure
        shutil.copyfile(run.folder / "figures" / "same_slice.png", shipped() / "published" / "same_slice.png")


if __name__ == "__main__":
    fingerprint = open_source("laptop").fingerprint
    for experiment, facts in EXPERIMENTS.items():
        for n_train, seed in product(facts.sizes or [None], range(3)):
            publish(experiment, n_train, seed, fingerprint)
