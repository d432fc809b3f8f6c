"""The rows of the tables in data/published/tables/, which take too long for a reader to compute."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from published_runs import (
    FEW,
    METHOD_EXPERIMENTS,
    NOISE_KINDS,
    NOISE_STDS,
    SEEDS,
    STACK_NOISE_STDS,
    STACKS,
    configs,
    laptop_config,
)
from scipy.ndimage import gaussian_filter

from xraylib.data import NI_YSZ_VOXEL_NM, Slices
from xraylib.datasets import Dataset, dummy_slices, open_dataset
from xraylib.inference import predict, recalibrate_batch_norm
from xraylib.metrics import evaluate
from xraylib.noise import noisy_copies
from xraylib.outlook import quality
from xraylib.outlook.calibration import evaluate_transfer
from xraylib.outlook.classical import benchmark_methods
from xraylib.outlook.corrections import candidate_corrections, to_uint16
from xraylib.outlook.robustness import best_published, noise_response
from xraylib.outlook.second_sample import built_in_second
from xraylib.outlook.smoothness import volume_errors
from xraylib.published import published
from xraylib.runs import config_of, run_experiment
from xraylib.sweep import run_sweep

Row = dict[str, Any]


def noise_rows(dataset: Dataset) -> Iterator[Row]:
    """Score the networks of notebook 7 on slices with more and more noise."""
    for kind, grid in NOISE_KINDS.items():
        for seed in SEEDS:
            val = laptop_config("01_baseline", {}, seed=seed).draw(dataset.slices).val
            run = run_experiment(laptop_config(*grid, seed=seed), dataset)
            yield noise_response(run, kind, val.subsample(20), dataset.test.subsample(20),
                                 NOISE_STDS)


def method_rows(dataset: Dataset) -> Iterator[Row]:
    """Score every method without a network, and the network, after few slices (notebook 10)."""
    for config in configs():
        if config.experiment in METHOD_EXPERIMENTS and config.n_train in FEW and (
                config.n_val is None and config.slice_share is None):
            train = config.draw(dataset.slices).train
            levels = NOISE_STDS if config.n_train == 5 else (0, 5000)
            run = run_experiment(config, dataset)
            yield from benchmark_methods(run, train, dataset.test.subsample(5), levels)


def stack_rows(dataset: Dataset) -> Iterator[Row]:
    """Measure the networks of notebook 9 on the test set with the noise of their training."""
    for std, (kind, stack), seed in product(STACK_NOISE_STDS, STACKS.items(), SEEDS):
        config = laptop_config("09_three_d", {"noise_std": std} | stack, seed=seed)
        run, test = run_experiment(config, dataset), noisy_copies(dataset.test, std, 0)
        yield volume_errors(kind, run, test, predict(run.model(), test.images))


def repair_rows(dataset: Dataset) -> Iterator[Row]:
    """Score clean-trained networks on noisy slices, also with new batch-norm statistics."""
    for seed, run in enumerate(published("03_noisy_val")):
        model, test = run.model(), noisy_copies(dataset.test, 5000, seed)
        few = noisy_copies(dataset.slices[:10], 5000, seed)
        repaired = recalibrate_batch_norm(model, few.images)
        yield {"seed": seed, "as_trained": evaluate(model, test).mean,
               "repaired": evaluate(repaired, test).mean}


def judged_volumes(dataset: Dataset) -> Iterator[tuple[str, Slices]]:
    """Yield volumes with known truth for the indicators of notebook 8: the test set, changed."""
    test = dataset.test[:12]

    def changed(change: Callable[[np.ndarray], np.ndarray]) -> Slices:
        images = [to_uint16(change(image.astype(np.float32))) for image in test.images]
        return replace(test, images=images)

    yield "test set", test
    for std in (2000, 5000, 15000, 25000):
        yield f"test set, noise {std}", noisy_copies(test, std, 0)
    yield "test set, half as bright", changed(lambda image: image / 2)
    yield "test set, out of focus (4 px)", changed(lambda image: gaussian_filter(image, 4))
    yield "test set, pore bright and nickel dark", changed(lambda image: 2 * image.mean() - image)


def unlabelled_rows(dataset: Dataset) -> Iterator[Row]:
    """Judge `judged_volumes` and the second sample by the indicators of two kinds of networks."""
    levels = quality.grey_quantiles(dataset.slices.subsample(40).images)
    second = built_in_second("laptop")
    kinds = {"fresh noise, 0 to 15000": best_published(), "clean slices": published("01_baseline")}
    for kind, runs in kinds.items():
        models = [run.model() for run in runs]
        held_out = config_of(runs[0]).draw(dummy_slices(dataset.slices.numbers)).val.numbers
        reference = quality.inspect_reference(models, dataset.slices, held_out)
        corrections = candidate_corrections(models, second.images, levels).items()
        volumes = [(name, models, part.images, part) for name, part in judged_volumes(dataset)] + [
            (f"second sample, {name}", networks, images, second)
            for name, (networks, images) in corrections]
        for name, networks, images, truth in volumes:
            volume = quality.inspect_volume(networks, images, truth.numbers, levels)
            yield {"networks": kind} | quality.judge_volume(name, reference, volume, truth)


def real_rows(data_dir: str) -> list[Row]:
    """Score networks of built-in and of real slices on blocks of real ones.

    Only numbers may be published: the licence of the labels allows nothing else.
    """
    dataset = open_dataset("laptop", data_dir)
    block = [laptop_config("01_baseline", {"split": "block"}, seed=seed) for seed in SEEDS]
    networks = {"real": run_sweep(block, dataset), "built-in": published("01_baseline")}
    volumes = {"validation block": block[0].draw(dataset.slices).val, "test set": dataset.test}
    return evaluate_transfer(networks, volumes, NI_YSZ_VOXEL_NM)
