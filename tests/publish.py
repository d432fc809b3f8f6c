"""Make what stands behind the stored notebooks and is shown in them, and copy it to data/published/.

    python tests/publish.py           before the notebooks are executed in place; `make publish` does both
    python tests/publish.py FOLDER    only what notebook 10 tells of the real slices, which are in this folder

That is the notebooks' own runs (laptop profile, built-in data, seeds 0 to 2), and what is too long for a reader: other
splits, the poster's recipe on a smaller network, the sweep over labels and steps, the methods without a network. Three
hours on 2 cores the first time; complete runs are kept. Only some come with weights (`has_weights`) or
snapshots of the training (`copy`).
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter

from xraylib.augment import GEOMETRIC, INTENSITY, TRANSFORMS
from xraylib.experiments import EXPERIMENTS
from xraylib.files import shipped, write_json
from xraylib.material import unlabelled
from xraylib.material.classical import contest
from xraylib.material.depth import row_of
from xraylib.material.trust import transfer
from xraylib.noise import noisy_copies
from xraylib.predict.network import predict, save_weights
from xraylib.runs.folder import Run, config_of, execute, folder_of, published
from xraylib.runs.noisy import best_kind, best_published, fall
from xraylib.runs.profiles import Config, configure, networks_of, of_equal_pixels
from xraylib.runs.sweep import sweep
from xraylib.show.errors import side_by_side
from xraylib.show.explore import snapshots
from xraylib.show.insides import statistics_over_training
from xraylib.slices.labelled import Slices
from xraylib.slices.sets import Source, built_in_second, open_source, outline

SEEDS = range(3)
PARTS = (0.0625, 0.25, 1, 2, 5, 15, 45, 105, 400)            # of notebook 4's second figure: slices, and steps
BUDGETS = (150, 750, 3000)
POSTERS = {"profile": "paper", "width": 16, "depth": 4, "crop": 256, "steps": 1500, "evaluations": 30}
FEW = (1, 5, 25)                                             # of notebook 10: slices that every method learns from
NOISES = (0, 1000, 2000, 5000, 10000, 15000)
SPARSE = {"n_train": 25, "n_val": 475}                       # few of all slices, so that some are far from them
MEMORISER = SPARSE | {"width": 32, "depth": 3, "steps": 2000}
CONTESTS = ("01_baseline", "07_noisy_only")
SETS = ({"flips": False}, {}, {"transforms": GEOMETRIC}, {"transforms": INTENSITY}, {"transforms": TRANSFORMS})
PLAIN, ALL = SETS[1], SETS[-1]                               # of notebook 5: flips alone, and everything
CAUSES = ({"transforms": ("noise",)}, {"transforms": ("blur", "contrast", "brightness")})    # of INTENSITY's effect
WINDOWS = (1 / 16, 1 / 4, (64 / 501)**2)                     # parts of a slice; the last is 64 x 64 px
CROPS = (32, 48, 64, 96, 128, 192, 256)                      # of notebook 6, px
SOME_CROPS = (32, 64, 128, 256)
ONE_LEVEL = {"noise_std": 5000, "noise_min": 5000}           # of notebook 7: fresh noise, always as strong
NOISY_PARTS = (1 / 16, 1 / 4, 1, 5, 400)
FEW_NOISY = (1 / 16, 1 / 4, 1)
MATRIX = {f"copies, {std}" if std else "clean": ("07_noisy_only", {"n_train": 400, "noise_std": std})
          for std in NOISES} | {
    "fresh, 5000": ("07_fresh_noise", {"n_train": 400} | ONE_LEVEL),
    "fresh, 0 to 5000": ("07_fresh_noise", {"n_train": 400, "noise_std": 5000}),
    "fresh, 0 to 15000": ("07_fresh_noise", {"n_train": 400, "noise_std": 15000})}
DEEP = networks_of("laptop")                                 # of notebook 9
DEEP_NOISES = (0, 5000, 15000)
LIGHT = (*GEOMETRIC, "contrast", "brightness")               # what may be done to slices that are noisy already


def grids() -> Iterator[tuple[str, dict]]:
    """Experiment and parameters of everything that is published."""
    yield from (("01_baseline", parameters) for parameters in ({}, {"split": "block"}, SPARSE, MEMORISER))
    yield from (("02_noisy_train", {}), ("02_noisy_train", {"noise_std": 0}), ("02_noisy_train", {"split": "block"}))
    yield from ((name, {"n_train": n}) for name in CONTESTS for n in FEW)
    yield from (("03_noisy_val", {}), ("03_noisy_val", POSTERS))
    yield from (("04_size_sweep", {"n_train": n}) for n in EXPERIMENTS["04_size_sweep"].sizes)
    yield from (("04_size_sweep", {"n_train": n, "steps": steps}) for n in PARTS for steps in BUDGETS)
    yield from (("05_single_image", {"n_train": n} | kind) for n in (None, 1 / 16) for kind in SETS)
    yield from (("05_single_image", {"n_train": n} | kind) for n in WINDOWS[1:] for kind in (PLAIN, ALL))
    yield from (("05_single_image", {"n_train": n} | kind) for n, kind in ((5, PLAIN), (400, PLAIN)))
    yield "05_single_image", {"steps": 3000} | ALL
    yield from (("05_single_image", kind) for kind in CAUSES)
    yield from (("06_small_crops", of_equal_pixels(crop, "laptop")) for crop in CROPS)
    yield from (("06_small_crops", {"padding": "valid"} | of_equal_pixels(crop, "laptop")) for crop in SOME_CROPS)
    yield from (("06_small_crops", {"depth": 4} | of_equal_pixels(crop, "laptop")) for crop in SOME_CROPS)
    yield from MATRIX.values()
    yield from (("07_noisy_only", {"n_train": n, "steps": 1500}) for n in NOISY_PARTS)
    yield from (("09_three_d", {"noise_std": std} | how) for std in DEEP_NOISES for how in DEEP.values())
    for n in FEW_NOISY:
        yield "07_noisy_only", {"n_train": n, "steps": 1500, "transforms": LIGHT}
        yield "07_fresh_noise", {"n_train": n, "steps": 1500} | ONE_LEVEL
        yield "07_fresh_noise", {"n_train": n, "steps": 1500, "transforms": (*LIGHT, "noise")} | ONE_LEVEL


def configs() -> list[Config]:
    """Every configuration, once."""
    seeds = [(name, parameters, {"seed": seed}) for name, parameters in grids() for seed in SEEDS]
    one = [(0, which) for which in range(5)] + [(seed, 0) for seed in SEEDS[1:]]
    seeds += [("05_single_image", kind, {"seed": seed, "split_seed": which})
              for kind in (PLAIN, ALL) for seed, which in one]
    return list(dict.fromkeys(configure(name, {"profile": "laptop"} | parameters, **seed)
                              for name, parameters, seed in seeds))


def has_weights(config: Config) -> bool:
    """Whether a notebook shows pictures of this run, as it is stored or with another split or other sizes."""
    if config.experiment[:2] in ("05", "06", "07", "09") and config.n_train != 5:
        shown = [("05_single_image", kind) for kind in SETS] + [
            ("06_small_crops", of_equal_pixels(crop, "laptop")) for crop in (CROPS[0], CROPS[-1])] + [
            MATRIX[kind] for kind in ("clean", "copies, 5000")] + [
            ("09_three_d", DEEP[kind]) for kind in ("2-D", "2.5-D", "3-D")]
        return config in [configure(name, {"profile": "laptop"} | parameters) for name, parameters in shown]
    sizes = EXPERIMENTS[config.experiment].sizes
    own = config == configure(config.experiment, profile="laptop", n_train=config.n_train, seed=config.seed,
                              noise_std=config.noise_std, split=config.split)
    return own and (config.n_train in (None, 5, *sizes[-1:]) or (config.seed == 0 and config.n_train in sizes))


def copy(config: Config, run: Run, source: Source, weights: bool) -> None:
    """Copy what is shown of one run, its weights in half precision."""
    target = folder_of(config, source.fingerprint, shipped() / "published")
    names = ["config.json", "history.csv", "result.json"]
    if weights:
        target.mkdir(parents=True, exist_ok=True)
        save_weights(run.model(), target / "model.safetensors", half=True)
        whole = config.seed == 0 and config.n_train is None and config.split == "random"
        if whole and config.experiment in ("01_baseline", "03_noisy_val"):
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


def methods(source: Source) -> Iterator[dict]:
    """Every method without a network and the network, from few slices: the rows of notebook 10."""
    for config in configs():
        if config.experiment in CONTESTS and config.n_train in FEW and config.n_val is None:
            train = config.draw(source.slices).train
            levels = NOISES if config.n_train == 5 else (0, 5000)
            yield from contest(execute(config, source), train, source.test.some(5), levels)


def noisy(source: Source) -> Iterator[dict]:
    """The networks of notebook 7 on slices with ever more noise."""
    for kind, (name, parameters) in MATRIX.items():
        for seed in SEEDS:
            val = configure("01_baseline", profile="laptop", seed=seed).draw(source.slices).val
            run = execute(configure(name, {"profile": "laptop"} | parameters, seed=seed), source)
            yield fall(run, kind, val.some(20), source.test.some(20), NOISES)


def volumes(source: Source) -> Iterator[tuple[str, Slices]]:
    """Volumes of which the truth is known, for the indicators of notebook 8: the test block, as it is and spoilt."""
    block = source.test[:12]

    def spoilt(spoil: Callable[[np.ndarray], np.ndarray]) -> Slices:
        return Slices([unlabelled.to_grey(spoil(image.astype(np.float32))) for image in block.images], block.labels,
                      block.numbers)

    yield "test block", block
    for std in (2000, 5000, 15000, 25000):
        yield f"test block, noise {std}", noisy_copies(block, std, 0)
    yield "test block, half as bright", spoilt(lambda image: image / 2)
    yield "test block, out of focus (4 px)", spoilt(lambda image: gaussian_filter(image, 4))
    yield "test block, pore bright and nickel dark", spoilt(lambda image: 2 * image.mean() - image)


def unlabelled_rows(source: Source) -> Iterator[dict]:
    """What the indicators of notebook 8 say of `volumes` and of the second sample, by two kinds of networks."""
    levels, second = unlabelled.grey_quantiles(source.slices.some(40).images), built_in_second("laptop")
    kinds = {"fresh noise, 0 to 15000": best_published(), "clean slices": published("01_baseline")}
    for kind, runs in kinds.items():
        models = [run.model() for run in runs]
        held_out = config_of(runs[0]).draw(outline(source.slices.numbers)).val.numbers
        usual = unlabelled.usual_look(models, source.slices, held_out)
        remedies = unlabelled.remedies(models, second.images, levels).items()
        looks = [(name, models, part.images, part) for name, part in volumes(source)] + [
            (f"second sample, {name}", networks, images, second) for name, (networks, images) in remedies]
        for name, networks, images, truth in looks:
            here = unlabelled.look(networks, images, truth.numbers, levels)
            yield {"networks": kind} | unlabelled.verdict(name, usual, here, truth)


def three_d(source: Source) -> Iterator[dict]:
    """The networks of notebook 9 on the test block, with the noise that they were trained on."""
    for std, (kind, how), seed in product(DEEP_NOISES, DEEP.items(), SEEDS):
        run = execute(configure("09_three_d", {"profile": "laptop", "noise_std": std} | how, seed=seed), source)
        test = noisy_copies(source.test, std, 0)
        yield row_of(kind, run, test, predict(run.model(), test.images))


def real(folder: str) -> Iterator[dict]:
    """Networks of built-in and of real slices on blocks of real ones. Numbers alone: nothing else may be published."""
    source = open_source("laptop", folder)
    block = [configure("01_baseline", profile="laptop", split="block", seed=seed) for seed in SEEDS]
    networks = {"real": sweep(block, source), "built-in": published("01_baseline")}
    blocks = {"validation block": block[0].draw(source.slices).val, "test block": source.test}
    yield from transfer(networks, blocks)


def write_rows(name: str, rows: Iterator[dict]) -> None:
    """A table as `folder.published_rows` reads it."""
    write_json(shipped() / "published" / f"{name}.json", {"rows": list(rows)})


if __name__ == "__main__":
    if sys.argv[1:]:
        write_rows("real", real(sys.argv[1]))
        sys.exit()
    source, wanted = open_source("laptop"), configs()
    runs = sweep(wanted, source, workers=2)
    for name in EXPERIMENTS:                                        # what breaks off here is whole after the next call
        shutil.rmtree(shipped() / "published" / name, ignore_errors=True)
    falls = list(noisy(source))
    best = [row["run"] for row in falls if row["kind"] == best_kind(falls)]
    for config, run in zip(wanted, runs, strict=True):
        copy(config, run, source, has_weights(config) or run.folder.name in best)
    write_rows("noisy", falls)
    write_rows("methods", methods(source))
    write_rows("unlabelled", unlabelled_rows(source))
    write_rows("three_d", three_d(source))
    readme_figure(source)
