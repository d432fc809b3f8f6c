import math
from dataclasses import replace

import pytest
from conftest import blobs

from xraylib.runs import parameters
from xraylib.runs.parameters import ParameterError, check
from xraylib.runs.profiles import RECIPES, configure, of_equal_pixels
from xraylib.slices.sets import SIZES


def test_numbers_that_yaml_made_strings_of_are_read():
    assert check(noise_std="5e3", seed="7") == {"noise_std": 5000.0, "seed": 7}


def test_sizes_may_hold_parts_of_a_slice():
    assert check(sizes=[0.25, "0.5", 1, "5"]) == {"sizes": [0.25, 0.5, 1, 5]}


def test_empty_values_come_from_the_environment(monkeypatch):
    empty = {"profile": "", "data_dir": "", "n_seeds": None}
    assert check(**empty) == {"profile": "laptop", "data_dir": "", "n_seeds": 1}
    for name, value in (("PROFILE", "tiny"), ("DATA", "there"), ("SEEDS", "3")):
        monkeypatch.setenv(f"XRAYLIB_{name}", value)
    assert check(**empty) == {"profile": "tiny", "data_dir": "there", "n_seeds": 3}
    monkeypatch.setenv("XRAYLIB_PROFILE", "lptop")
    with pytest.raises(ParameterError, match="lptop"):
        check(profile="")


OWN = "# The parameters of this notebook\nseed = 0\nsplit = 'random'"


def test_a_notebook_gives_its_own_parameters_as_they_are_now():
    namespace = {"In": ["", OWN, "# Parameters\nseed = 4\n"], "seed": 4, "split": "random", "other": 3}
    assert parameters.from_notebook(namespace) == {"seed": 4, "split": "random"}


def test_without_a_history_of_cells_the_parameters_that_are_there_are_taken():
    assert parameters.from_notebook({"In": [""], "seed": 4, "other": 3}) == {"seed": 4}


def test_an_unknown_injected_parameter_stops_the_notebook():
    namespace = {"In": ["", OWN, "# Parameters\nsede = 4\n"], "seed": 0, "split": "random", "sede": 4}
    with pytest.raises(ParameterError, match="unknown parameter 'sede'; this notebook knows seed, split"):
        parameters.from_notebook(namespace)


def test_configurations_take_what_they_need_and_refuse_what_is_wrong():
    config = configure("01_baseline", {"profile": "tiny", "data_dir": "x", "reuse": True, "n_seeds": 2}, seed=3)
    assert (config.profile, config.seed, config.recipe.steps) == ("tiny", 3, 30)
    assert configure("01_baseline", profile="tiny", steps=2).recipe.evaluations == 2
    for wrong in ({"experiment": "05"}, {"experiment": "01_baseline", "profile": "huge"}):
        with pytest.raises(ParameterError, match="must be one of"):
            configure(wrong.pop("experiment"), **wrong)


def test_a_reader_can_change_the_recipe_and_train_on_a_part_of_a_slice():
    config = configure("01_baseline", profile="laptop", n_train="0.25", width=8, depth=3, crop=16, batch=4, lr=1e-3,
                       evaluations=5)
    recipe = config.recipe
    assert (config.n_train, recipe.width, recipe.depth, recipe.crop, recipe.batch, recipe.lr, recipe.evaluations) == (
        0.25, 8, 3, 16, 4, 1e-3, 5)


def test_a_reader_switches_flips_and_transforms_and_gives_noise_its_bound():
    plain = configure("01_baseline", profile="laptop").recipe
    assert (plain.augment, plain.transforms, plain.noise_max) == (True, (), 0)
    assert configure("01_baseline", profile="laptop", flips=False).recipe == replace(plain, augment=False)
    assert configure("01_baseline", profile="paper", flips=True).recipe.augment
    recipe = configure("01_baseline", profile="laptop", transforms=["noise", "elastic"], noise_std=700).recipe
    assert (recipe.transforms, recipe.noise_max) == (("elastic", "noise"), 700)
    assert configure("01_baseline", profile="laptop", transforms=["rotate"], noise_std=700).recipe.noise_max == 0


def test_noise_has_one_level_where_its_bounds_are_equal_and_they_cannot_be_crossed():
    noise = {"transforms": ["noise"], "noise_std": 700}
    recipe = configure("01_baseline", profile="laptop", noise_min=700, **noise).recipe
    assert (recipe.noise_min, recipe.noise_max) == (700, 700)
    with pytest.raises(ParameterError, match="noise_std is 700, less than noise_min, 701; raise the one or lower"):
        configure("01_baseline", profile="laptop", noise_min=701, **noise)
    plain = configure("03_noisy_val", profile="laptop", noise_min=701, noise_std=700)     # no crop gets noise
    assert plain.recipe.noise_min == plain.recipe.noise_max == 0 and plain.noise_std == 700


@pytest.mark.parametrize(("experiment", "profile", "own"), [
    ("05_single_image", "laptop", {"steps": 1500}), ("05_single_image", "paper", {"steps": 21_000, "epochs": 0}),
    ("05_single_image", "tiny", {}), ("04_size_sweep", "laptop", {"steps": 150, "evaluations": 1}),
    ("06_small_crops", "laptop", {}), ("07_noisy_only", "laptop", {}),
    ("07_fresh_noise", "tiny", {"transforms": ("noise",), "noise_max": 5000})])
def test_an_experiment_may_differ_from_the_recipe_of_its_profile(experiment, profile, own):
    assert configure(experiment, profile=profile).recipe == replace(RECIPES[profile], **own)


def test_what_a_reader_changes_wins_over_the_recipe_of_the_experiment():
    changed = configure("04_size_sweep", profile="laptop", steps=300, width=8).recipe
    assert changed == replace(RECIPES["laptop"], steps=300, evaluations=1, width=8)
    with pytest.raises(ParameterError, match=r"transforms is \['blur'\]; 07_fresh_noise is nothing without 'noise'"):
        configure("07_fresh_noise", profile="laptop", transforms=["blur"])
    assert configure("07_fresh_noise", profile="laptop", noise_std=3000, noise_min=2000).recipe == replace(
        RECIPES["laptop"], transforms=("noise",), noise_min=2000, noise_max=3000)


@pytest.mark.parametrize("profile", RECIPES)
@pytest.mark.parametrize("crop", [32, 48, 64, 96, 128, 192, 256])
def test_crops_of_every_side_show_as_many_pixels_as_the_profile_does(profile, crop):
    """As near as whole steps can be: within 1 %, but in the tiny profile half a step of its 13 to 15 is more."""
    steps, batch, side = {"tiny": (30, 32, 32), "laptop": (750, 40, 32), "paper": (400 * 200, 1, 501)}[profile]
    recipe = configure("06_small_crops", **of_equal_pixels(crop, profile), profile=profile).recipe
    assert recipe.crop == crop and recipe.batch * crop**2 == pytest.approx(2**16, rel=0.13)
    a_step, wanted = recipe.batch * crop**2, steps * batch * side**2
    assert abs(recipe.steps * a_step - wanted) <= a_step / 2
    assert profile == "tiny" or recipe.steps * a_step == pytest.approx(wanted, rel=0.01)
    assert RECIPES[profile].crop or SIZES[profile][2] == side


def test_transforms_and_the_seed_of_the_split_tell_runs_apart_and_what_is_off_does_not():
    changes = ({}, {"transforms": ["rotate"]}, {"transforms": ["noise"]}, {"transforms": ["noise"], "noise_std": 1},
               {"transforms": ["noise"], "noise_min": 1}, {"padding": "valid"}, {"flips": False}, {"split_seed": 0},
               {"transforms": ["elastic", "rotate"]})
    configs = [configure("01_baseline", profile="laptop", **change) for change in changes]
    assert len({config.digest("a") for config in configs}) == len(configs)
    assert configs[-1] == configure("01_baseline", profile="laptop", transforms=["rotate", "elastic"])
    assert configs[0] == configure("01_baseline", profile="laptop", transforms=[], split_seed=None, flips=None,
                                   padding="same", noise_min=1)
    facts = configs[0].facts()
    assert "split_seed" not in facts and not {"transforms", "noise_min", "noise_max", "padding"} & set(facts["recipe"])


def test_the_seed_draws_which_slice_trains_and_the_seed_of_the_split_draws_it_alone():
    slices = blobs(40, 16, 16)

    def drawn(**seeds):
        config = configure("01_baseline", profile="tiny", n_train=1, n_val=8, **seeds)
        return config.draw(slices).train.numbers.item()

    assert len({drawn(seed=seed) for seed in range(20)}) > 10
    assert [drawn(seed=seed, split_seed=3) for seed in range(4)] == 4 * [drawn(seed=3)]


def test_runs_are_told_apart_by_their_parameters_and_data_and_not_by_noise_that_is_not_there():
    config = configure("01_baseline", profile="tiny")
    assert config.digest("a") == configure("01_baseline", profile="tiny", noise_std=1).digest("a")
    others = [configure("01_baseline", profile="tiny", **change)
              for change in ({"seed": 1}, {"n_train": 3}, {"split": "block"}, {"steps": 5})]
    assert len({other.digest("a") for other in [config, *others]} | {config.digest("b")}) == 6


def test_the_paper_profile_is_the_posters():
    recipe = configure("01_baseline", profile="paper").recipe
    assert (recipe.width, recipe.depth, recipe.lr, recipe.optimiser, recipe.batch, recipe.crop, recipe.epochs) == (
        64, 4, 1e-5, "rmsprop", 1, 0, 200)
    assert configure("04_size_sweep", profile="paper").recipe.steps == 105 * 200


def test_networks_of_volumes_change_the_name_of_no_older_run():
    """The experiment of neighbours is split in blocks, the others as they were; what is not asked for is not told."""
    assert configure("09_three_d").split == "block" and configure("01_baseline").split == "random"
    facts, same = (configure("01_baseline", profile="laptop", **how).facts() for how in ({}, {"dims": 2, "context": 0}))
    assert facts == same and not {"dims", "context"} & set(facts["recipe"])
    assert {"dims", "context"} & set(configure("09_three_d", dims=3).facts()["recipe"]) == {"dims"}


def test_where_no_cells_are_kept_a_module_of_a_parameters_name_is_none():
    """As nbval runs a notebook."""
    assert parameters.from_notebook({"In": [], "seed": 3, "flips": None, "depth": math, "crop": len}) == {
        "seed": 3, "flips": None}
