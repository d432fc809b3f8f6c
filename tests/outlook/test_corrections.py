"""Corrections of a volume without labels."""

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.outlook.corrections import (
    candidate_corrections,
    match_histogram,
    match_mean_and_std,
    to_uint16,
)
from xraylib.outlook.quality import grey_quantiles, grey_shift
from xraylib.unet import UNet


def test_grey_levels_are_rounded_and_clipped():
    found = to_uint16(np.array([-3.0, 0.6, 65534.4, 70000]))
    assert found.dtype == np.uint16 and found.tolist() == [0, 1, 65534, 65535]


def test_matched_slices_have_the_mean_and_deviation_of_training_and_keep_their_differences():
    slices = blobs(4, 60, 60)
    levels = grey_quantiles(slices.images)
    darker = [(image // 2 + index * 100).astype(np.uint16)
              for index, image in enumerate(slices.images)]
    found = np.stack(match_mean_and_std(darker, levels)).astype(float)
    assert found.mean() == pytest.approx(levels.mean(), rel=0.01)
    assert found.std() == pytest.approx(levels.std(), rel=0.02)
    gain = found.std() / np.std(darker)
    assert found[3].mean() - found[0].mean() == pytest.approx(
        gain * (np.mean(darker[3]) - np.mean(darker[0])), rel=0.01)


def test_each_matched_slice_has_the_histogram_of_training_and_keeps_its_order():
    slices = blobs(4, 60, 60)
    levels = grey_quantiles(slices.images[:1])
    odd = [(np.sqrt(image) * 100 * (1 + index)).clip(0, 65535).astype(np.uint16)
           for index, image in enumerate(slices.images[:1] * 2)]
    found = match_histogram(odd, levels)
    assert grey_shift(found, levels) == pytest.approx(0, abs=0.01)
    order = np.argsort(odd[1].ravel(), kind="stable")
    assert (np.diff(found[1].ravel()[order].astype(int)) >= 0).all()


def test_every_correction_has_networks_and_slices():
    slices = blobs(12, 32, 40)
    darker = [(image // 2).astype(np.uint16) for image in slices.images]
    model = UNet(4, 1).eval()
    found = candidate_corrections([model], darker, grey_quantiles(slices.images))
    assert list(found) == ["no correction", "mean and standard deviation",
                           "histogram of each slice", "batch-norm statistics"]
    changed = [not np.array_equal(np.stack(images), np.stack(darker))
               for _, images in found.values()]
    assert changed == [False, True, True, False]
    recalibrated = found["batch-norm statistics"][0][0]
    assert [networks[0] is model for networks, _ in found.values()] == [True, True, True, False]
    means = [network.stem.layers[1].running_mean for network in (model, recalibrated)]
    assert not torch.equal(*means)
