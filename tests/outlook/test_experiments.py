"""What the experiments of notebooks 5 to 9 train and validate on, and their networks."""

import numpy as np
import pytest
from conftest import blobs

from xraylib.datasets import SIZES
from xraylib.errors import DataError, ParameterError
from xraylib.outlook.experiments import recipe_with_equal_pixels, stack_networks
from xraylib.params import PROFILES, configure


def draw(name, **parameters):
    return configure(name, parameters).draw(blobs(60, 16, 16))


def test_experiment_5_trains_on_one_of_the_slices_that_the_baseline_trains_on():
    drawn, baseline = (draw(name, profile="tiny", seed=2)
                       for name in ("05_single_image", "01_baseline"))
    assert len(drawn.train) == 1 and drawn.train.numbers[0] in baseline.train.numbers
    assert np.array_equal(drawn.val.numbers, baseline.val.numbers)
    assert not drawn.train.noise_std.any() and not drawn.val.noise_std.any()
    assert configure("05_single_image", noise_std=3000).noise_std == 3000     # of its test set


def test_experiment_6_has_the_sets_of_the_baseline():
    for part, same in zip(draw("06_small_crops", profile="tiny", seed=2)[:2],
                          draw("01_baseline", profile="tiny", seed=2)[:2], strict=True):
        assert np.array_equal(part.numbers, same.numbers)
        assert np.array_equal(part.images, same.images)


def test_experiment_7_is_the_baseline_with_noise_on_every_slice():
    drawn = draw("07_noisy_only", profile="tiny", noise_std=3000, seed=2)
    baseline = draw("01_baseline", profile="tiny", seed=2)
    for noisy, clean in ((drawn.train, baseline.train), (drawn.val, baseline.val)):
        assert np.array_equal(noisy.numbers, clean.numbers) and len(noisy) in (24, 8)
        assert (noisy.noise_std == 3000).all() and np.array_equal(noisy.labels, clean.labels)
        added = np.subtract(noisy.images, clean.images, dtype=float)
        assert added.std((1, 2)) == pytest.approx(3000, rel=0.2)
        assert added.std() == pytest.approx(3000, rel=0.03)


def test_fresh_noise_trains_on_clean_slices_and_validates_on_the_noisy_ones_of_experiment_7():
    fresh, fixed, clean = (draw(name, profile="tiny", seed=2, noise_std=3000)
                           for name in ("07_fresh_noise", "07_noisy_only", "01_baseline"))
    assert np.array_equal(fresh.train.images, clean.train.images)
    assert not fresh.train.noise_std.any()
    assert np.array_equal(fresh.val.images, fixed.val.images)
    assert (fresh.val.noise_std == 3000).all()
    for profile in PROFILES:
        assert configure("07_fresh_noise", profile=profile).recipe.transforms == ("noise",)


def test_experiment_9_is_two_blocks_of_neighbours_each_slice_with_its_own_noise():
    drawn = draw("09_three_d", profile="tiny", noise_std=3000, network="UNet3D")
    assert np.array_equal(drawn.train.numbers, np.arange(19, 51))
    assert np.array_equal(drawn.val.numbers, range(53, 61))
    added = np.subtract(drawn.val.images, blobs(60, 16, 16).images[52:], dtype=float)
    assert added.std() == pytest.approx(3000, rel=0.05)
    correlation = np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]
    assert abs(correlation) < 0.25                           # 256 pixels: chance is 0.06
    clean = draw("09_three_d", profile="tiny", noise_std=0, network="UNet25D")
    assert not clean.train.noise_std.any()
    assert np.array_equal(clean.val.images, blobs(60, 16, 16).images[52:])


@pytest.mark.parametrize("network", ["UNet3D", "UNet25D"])
@pytest.mark.parametrize(("name", "split"), [
    ("09_three_d", "random"), ("01_baseline", "random"), ("02_noisy_train", "block"),
    ("03_noisy_val", "block")])
def test_networks_that_see_neighbours_refuse_slices_that_are_not(network, name, split):
    with pytest.raises(DataError, match='Set split to "block".* experiment without copies'):
        draw(name, profile="tiny", crop=8, split=split, network=network)
    draw(name, profile="tiny", split=split)          # a network of single slices does not mind
    draw("01_baseline", profile="tiny", split="block", network=network)


@pytest.mark.parametrize("wrong", [{"crop": 0}, {"padding": "valid"}, {"transforms": ["blur"]}])
def test_a_network_of_volumes_needs_cubes_and_no_transforms(wrong):
    with pytest.raises(ParameterError, match="network is 'UNet3D', which is trained on cubes "
                                             r"\(crop above 0\) with padding 'same'"):
        configure("09_three_d", profile="tiny", network="UNet3D", **wrong)


@pytest.mark.parametrize(("experiment", "profile", "own"), [
    ("05_single_image", "laptop", {"steps": 1500}),
    ("05_single_image", "paper", {"steps": 21_000, "epochs": 0}), ("05_single_image", "tiny", {}),
    ("06_small_crops", "laptop", {}), ("07_noisy_only", "laptop", {}),
    ("07_fresh_noise", "tiny", {"transforms": ("noise",), "noise_std_max": 5000})])
def test_an_experiment_may_differ_from_the_recipe_of_its_profile(experiment, profile, own):
    recipe = configure(experiment, profile=profile).recipe
    assert vars(recipe) == vars(PROFILES[profile]) | own


def test_fresh_noise_needs_the_transform_noise():
    with pytest.raises(ParameterError, match=r"transforms is \['blur'\]; 07_fresh_noise needs "
                                             "'noise': add it"):
        configure("07_fresh_noise", profile="laptop", transforms=["blur"])
    recipe = configure("07_fresh_noise", profile="laptop", noise_std=3000,
                       noise_std_min=2000).recipe
    assert vars(recipe) == vars(PROFILES["laptop"]) | {
        "transforms": ("noise",), "noise_std_min": 2000, "noise_std_max": 3000}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("crop", [32, 48, 64, 96, 128, 192, 256])
def test_crops_of_every_side_show_as_many_pixels_as_the_profile_does(profile, crop):
    """Up to rounding: within 1 %, in the tiny profile within half of its 13 to 15 steps."""
    steps, batch, side = {"tiny": (30, 32, 32), "laptop": (750, 40, 32),
                          "paper": (400 * 200, 1, 501)}[profile]
    changes = recipe_with_equal_pixels(crop, profile)
    recipe = configure("06_small_crops", profile=profile, **changes).recipe
    assert recipe.crop == crop and recipe.batch * crop**2 == pytest.approx(2**16, rel=0.13)
    per_step, wanted = recipe.batch * crop**2, steps * batch * side**2
    assert abs(recipe.steps * per_step - wanted) <= per_step / 2
    assert profile == "tiny" or recipe.steps * per_step == pytest.approx(wanted, rel=0.01)
    assert PROFILES[profile].crop or SIZES[profile][2] == side


def test_the_networks_of_notebook_9_have_the_sizes_that_make_them_comparable():
    networks = stack_networks("laptop")
    configs = {name: configure("09_three_d", {"profile": "laptop"} | changes)
               for name, changes in networks.items()}
    assert list(networks) == ["2-D", "2.5-D", "3-D", "3-D wide"]
    assert [config.recipe.network for config in configs.values()] == [
        "UNet", "UNet25D", "UNet3D", "UNet3D"]
    assert [config.recipe.width for config in configs.values()] == [16, 16, 9, 16]
    assert configs["3-D"].recipe.crop == 16 and configs["3-D wide"].recipe.steps == 484
    assert configs["2-D"].split == "block" and configure("01_baseline").split == "random"
