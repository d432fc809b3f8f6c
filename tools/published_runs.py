"""Which runs are published, which of them with weights, and which networks get a name."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from xraylib.experiments import EXPERIMENTS
from xraylib.outlook.experiments import recipe_with_equal_pixels, stack_networks
from xraylib.outlook.transforms import GEOMETRIC, INTENSITY
from xraylib.params import RunConfig, configure, size_parameters
from xraylib.training import TRANSFORMS

Grid = tuple[str, dict[str, Any]]  # name of an experiment, and parameters

SEEDS = range(3)
# Notebook 1: few of all slices train, so that some validation slices are far from them.
SPARSE = {"n_train": 25, "n_val": 475}
MEMORISER = SPARSE | {"width": 32, "depth": 3, "steps": 2000}
# Notebook 3: the poster's recipe on a smaller network.
POSTER = {"profile": "paper", "width": 16, "depth": 4, "crop": 256, "steps": 1500,
          "evaluations": 30}
# Notebook 4, second figure: training slices, and steps.
SIZES, STEPS = (1 / 16, 1 / 4, 1, 2, 5, 15, 45, 105, 400), (150, 750, 3000)
# Notebook 5: sets of transforms; what the effect of INTENSITY comes from; shares of one slice.
SETS: tuple[dict[str, Any], ...] = (
    {"flips": False}, {}, {"transforms": GEOMETRIC}, {"transforms": INTENSITY},
    {"transforms": TRANSFORMS})
PLAIN, ALL = SETS[1], SETS[-1]
CAUSES = ({"transforms": ("noise",)}, {"transforms": ("blur", "contrast", "brightness")})
SHARES = (1 / 4, (64 / 501) ** 2)  # the last is 64 x 64 px
# Notebook 6: sides of the crops, px.
CROPS, SOME_CROPS = (32, 48, 64, 96, 128, 192, 256), (32, 64, 128, 256)
# Notebook 7: standard deviations of the noise, and networks that differ in it.
NOISE_STDS = (0, 1000, 2000, 5000, 10000, 15000)
FIXED = {"noise_std": 5000, "noise_std_min": 5000}  # new noise in each step, equally strong
FEW_NOISY = (1 / 16, 1 / 4, 1)
LIGHT = (*GEOMETRIC, "contrast", "brightness")  # transforms of slices that are noisy already
NOISE_KINDS: dict[str, Grid] = {
    f"copies, {std}" if std else "clean": ("07_noisy_only", {"n_train": 400, "noise_std": std})
    for std in NOISE_STDS
} | {
    "fresh, 5000": ("07_fresh_noise", {"n_train": 400} | FIXED),
    "fresh, 0 to 5000": ("07_fresh_noise", {"n_train": 400, "noise_std": 5000}),
    "fresh, 0 to 15000": ("07_fresh_noise", {"n_train": 400, "noise_std": 15000})}
# Notebook 9: networks, and the noise that they are trained on.
STACKS, STACK_NOISE_STDS = stack_networks("laptop"), (0, 5000, 15000)
# Notebook 10: experiments and numbers of slices that every method learns from.
METHOD_EXPERIMENTS, FEW = ("01_baseline", "07_noisy_only"), (1, 5, 25)

# Networks with a name: experiment and parameters (seed 0), and what the network is good for.
NETWORKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "baseline": ("01_baseline", {}, "Clean slices like those it was trained on."),
    "clean-and-noisy": (
        "02_noisy_train", {}, "Clean slices and slices with noise of about 5,000 grey levels."),
    "noise-robust": (
        *NOISE_KINDS["fresh, 0 to 15000"], "Slices with any noise up to 15,000 grey levels."),
    "five-slices": (
        "04_size_sweep", {"n_train": 5},
        "Clean slices; shows what five labelled slices are enough for."),
    "one-slice": (
        "05_single_image", ALL,
        "Clean and slightly noisy slices; shows what one labelled slice is enough for."),
    "2.5d-noisy": (
        "09_three_d", STACKS["2.5-D"],
        "Volumes with noise of 5,000: sees five neighbouring slices."),
    "3d-noisy": (
        "09_three_d", STACKS["3-D"],
        "Volumes with noise of 5,000: sees cubes; the smoothest result across slices."),
}


def laptop_config(experiment: str, parameters: dict[str, Any], **changes: Any) -> RunConfig:
    """Make a configuration, in the laptop profile unless the parameters name another one."""
    return configure(experiment, {"profile": "laptop"} | parameters, **changes)


def equal_pixels(crop: int, **changes: Any) -> Grid:
    """Return a run of notebook 6 with crops of this side, px."""
    return "06_small_crops", recipe_with_equal_pixels(crop, "laptop") | changes


def grids() -> Iterator[Grid]:
    """Yield the experiment and the parameters of everything that is published with three seeds."""
    for parameters in ({}, {"split": "block"}, SPARSE, MEMORISER):
        yield "01_baseline", parameters
    for parameters in ({}, {"noise_std": 0}, {"split": "block"}):
        yield "02_noisy_train", parameters
    yield from (("03_noisy_val", {}), ("03_noisy_val", POSTER))
    for size in EXPERIMENTS["04_size_sweep"].sizes:
        yield "04_size_sweep", size_parameters(size)
    for size in SIZES:
        yield from (("04_size_sweep", size_parameters(size) | {"steps": steps}) for steps in STEPS)
    yield from single_image_grids()
    yield from map(equal_pixels, CROPS)
    yield from (equal_pixels(crop, padding="valid") for crop in SOME_CROPS)
    yield from (equal_pixels(crop, depth=4) for crop in SOME_CROPS)
    yield from NOISE_KINDS.values()
    for size in (*FEW_NOISY, 5, 400):
        yield "07_noisy_only", size_parameters(size) | {"steps": 1500}
    for size in FEW_NOISY:
        few = size_parameters(size) | {"steps": 1500}
        yield "07_noisy_only", few | {"transforms": LIGHT}
        yield "07_fresh_noise", few | FIXED
        yield "07_fresh_noise", few | FIXED | {"transforms": (*LIGHT, "noise")}
    for std in STACK_NOISE_STDS:
        yield from (("09_three_d", {"noise_std": std} | stack) for stack in STACKS.values())
    yield from ((name, {"n_train": n}) for name in METHOD_EXPERIMENTS for n in FEW)


def single_image_grids() -> Iterator[Grid]:
    """Yield the runs of notebook 5."""
    name = "05_single_image"
    yield from ((name, kind) for kind in (*SETS, *CAUSES, ALL | {"steps": 3000}))
    yield from ((name, size_parameters(1 / 16) | kind) for kind in SETS)
    for share in SHARES:
        yield from ((name, size_parameters(share) | kind) for kind in (PLAIN, ALL))
    yield from ((name, size_parameters(n) | PLAIN) for n in (5, 400))


def configs() -> list[RunConfig]:
    """Return every published configuration once."""
    found = [laptop_config(name, parameters, seed=seed)
             for name, parameters in grids() for seed in SEEDS]
    # Notebook 5: what the choice of the one slice changes, and what the seed of the rest changes.
    pairs = [(0, split_seed) for split_seed in range(5)] + [(seed, 0) for seed in SEEDS[1:]]
    found += [laptop_config("05_single_image", kind, seed=seed, split_seed=split_seed)
              for kind in (PLAIN, ALL) for seed, split_seed in pairs]
    return list(dict.fromkeys(found))


def has_weights(config: RunConfig) -> bool:
    """Say whether a notebook uses the network of this run, or one of another split or size."""
    name = config.experiment
    if name[:2] in ("05", "06", "07", "09") and config.n_train != 5:
        shown = [("05_single_image", kind) for kind in SETS]
        shown += [equal_pixels(crop) for crop in (CROPS[0], CROPS[-1])]
        shown += [NOISE_KINDS[kind] for kind in ("clean", "copies, 5000")]
        shown += [("09_three_d", STACKS[kind]) for kind in ("2-D", "2.5-D", "3-D")]
        return config in [laptop_config(*grid) for grid in shown]
    sizes = EXPERIMENTS[name].sizes
    usual = {"n_train": config.n_train, "noise_std": config.noise_std, "split": config.split}
    first = config.seed == 0 and config.n_train in sizes
    return config == laptop_config(name, usual, seed=config.seed) and (
        first or config.n_train in (None, 5, *sizes[-1:]))


def has_snapshots(config: RunConfig) -> bool:
    """Say whether the networks during the training are published, too, for notebooks 1 and 3."""
    return config in [laptop_config(name, {}) for name in ("01_baseline", "03_noisy_val")]


def run_name(config: RunConfig) -> str:
    """Name a published run by its differences from the defaults: "01_baseline-block-seed1"."""
    usual = configure(config.experiment, profile=config.profile, seed=config.seed)
    hidden = {"recipe", "noise_std_max", "n_train" if config.slice_share else ""}
    parts = [config.experiment, *([config.profile] if config.profile != "laptop" else [])]
    for mine, other in ((config, usual), (config.recipe, usual.recipe)):
        for name in (field.name for field in fields(mine) if field.name not in hidden):
            if (value := getattr(mine, name)) != getattr(other, name):
                parts.append(_describe(name, value))
    return "-".join([*parts, f"seed{config.seed}"])


def _describe(name: str, value: Any) -> str:
    """Write one value of a configuration as a part of a file name."""
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    if isinstance(value, int | float):
        return f"{name}{value:g}"
    if value == TRANSFORMS:
        return "all_transforms"
    return "+".join(value) if isinstance(value, tuple) else value
