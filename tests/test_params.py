"""Parameters: types, ranges, notebooks, and the configurations that they make."""

import math
from dataclasses import replace

import pytest
from conftest import blobs

from xraylib.errors import ParameterError
from xraylib.params import (
    PROFILES,
    check_parameters,
    configure,
    from_notebook,
    size_parameters,
)


def test_numbers_that_yaml_reads_as_text_are_accepted():
    assert check_parameters(noise_std="5e3", seed="7", lr="1e-3") == {
        "noise_std": 5000.0, "seed": 7, "lr": 1e-3}


@pytest.mark.parametrize("value", [True, "1_0", "1.5", math.nan, None, 10**400, [1]])
def test_numbers_that_are_not_whole_are_refused(value):
    with pytest.raises(ParameterError, match="seed is .*; it must be a whole number from 0 to "
                                             r"2147483647\.$"):
        check_parameters(seed=value)


def test_the_first_wrong_parameter_is_reported_and_unknown_ones_before_others():
    with pytest.raises(ParameterError, match="^noise_std is -3; it must be a number from 0 to 65"):
        check_parameters(noise_std=-3, lr=5)
    with pytest.raises(ParameterError, match="^unknown parameter 'colour'; the known ones are "
                                             "profile, data_dir, "):
        check_parameters(noise_std=-3, colour=1)


def test_sizes_may_be_shares_of_a_slice():
    sizes = check_parameters(sizes=[0.25, "0.5", 1, "5"])["sizes"]
    assert sizes == [0.25, 0.5, 1, 5] and [type(n) for n in sizes] == [float, float, int, int]
    assert [size_parameters(n) for n in (0.25, 5)] == [
        {"n_train": 1, "slice_share": 0.25}, {"n_train": 5, "slice_share": None}]


@pytest.mark.parametrize(("text", "read"), [
    ("[]", []), ("[2,3]", [2, 3]), ("[0.25, 5]", [0.25, 5])])
def test_lists_may_be_text_as_papermill_passes_them(text, read):
    assert check_parameters(sizes=text) == {"sizes": read}
    assert check_parameters(crops="[32, 64]") == {"crops": [32, 64]}
    assert check_parameters(transforms="[]") == {"transforms": ()}
    assert check_parameters(transforms="['noise', \"blur\"]")["transforms"] == ("blur", "noise")
    with pytest.raises(ParameterError, match=r"sizes\[1\] is 'x'; it must be"):
        check_parameters(sizes="[2,x]")


def test_minus_zero_is_zero():
    one, other = (configure("02_noisy_train", profile="tiny", noise_std=zero)
                  for zero in (0, "-0.0"))
    assert one.digest("") == other.digest("")


@pytest.mark.parametrize("value", [["noise", "blur"], ("noise", "blur"), "noise+blur"])
def test_transforms_are_a_list_or_names_joined_by_a_plus(value):
    """Defect: `sweep -p transforms=noise` was always refused."""
    assert check_parameters(transforms=value) == {"transforms": ("blur", "noise")}
    assert check_parameters(transforms="") == {"transforms": ()}


def test_empty_values_come_from_the_environment(monkeypatch):
    empty = {"profile": "", "data_dir": "", "n_seeds": None}
    assert check_parameters(**empty) == {"profile": "laptop", "data_dir": "", "n_seeds": 1}
    for name, value in (("PROFILE", "tiny"), ("DATA", "there"), ("SEEDS", "3")):
        monkeypatch.setenv(f"XRAYLIB_{name}", value)
    assert check_parameters(**empty) == {"profile": "tiny", "data_dir": "there", "n_seeds": 3}
    monkeypatch.setenv("XRAYLIB_PROFILE", "lptop")
    with pytest.raises(ParameterError, match="lptop"):
        check_parameters(profile="")


# -- notebooks -------------------------------------------------------------------------------------


def notebook(**variables):
    """The globals of a notebook whose first cell has set these."""
    return {"In": ["", "seed = 0"], "Out": {}, "_i": "", "math": math, "print": print} | variables


def test_a_notebook_gives_its_parameters_and_nothing_else_is_read():
    namespace = notebook(seed=4, split="block")
    assert from_notebook(namespace, "seed split") == {"seed": 4, "split": "block"}


def test_an_unknown_variable_stops_the_notebook():
    """papermill adds a parameter that the notebook does not know as one more variable."""
    namespace = notebook(seed=0, split="random", sede=4)
    for _ in range(2):
        with pytest.raises(ParameterError, match="unknown parameter 'sede'; this notebook knows "
                                                 "seed, split"):
            from_notebook(namespace, "seed split")


def test_variables_of_later_cells_do_not_matter_when_the_cell_is_run_again():
    namespace = notebook(seed=0)
    from_notebook(namespace, "seed")
    namespace |= {"seed": 1, "width": 3, "n": [1, 2]}
    assert from_notebook(namespace, "seed") == {"seed": 1}


# -- configurations --------------------------------------------------------------------------------


def test_configurations_take_what_they_need_and_refuse_what_is_wrong():
    config = configure("01_baseline", {"profile": "tiny", "data_dir": "x", "use_published": True,
                                       "n_seeds": 2}, seed=3)
    assert (config.profile, config.seed, config.recipe.steps) == ("tiny", 3, 30)
    assert configure("01_baseline", profile="tiny", steps=2).recipe.evaluations == 2
    for wrong in ({"experiment": "05"}, {"experiment": "01_baseline", "profile": "huge"}):
        with pytest.raises(ParameterError, match="must be one of"):
            configure(wrong.pop("experiment"), **wrong)


def test_a_reader_can_change_the_recipe():
    config = configure("01_baseline", profile="laptop", n_train="4", width=8, depth=3, crop=16,
                       batch=4, lr=1e-3, evaluations=5)
    assert config.n_train == 4
    assert config.recipe == replace(PROFILES["laptop"], width=8, depth=3, crop=16, batch=4,
                                    lr=1e-3, evaluations=5)


def test_a_share_is_of_one_slice():
    config = configure("04_size_sweep", profile="tiny", slice_share="0.25")
    assert (config.n_train, config.slice_share) == (1, 0.25)
    assert config == configure("04_size_sweep", profile="tiny", slice_share=0.25, n_train=1)
    with pytest.raises(ParameterError, match="slice_share is 0.25 and n_train 5, but a share is "
                                             "of one slice"):
        configure("04_size_sweep", slice_share=0.25, n_train=5)
    with pytest.raises(ParameterError, match="n_train is 0.25; it must be a whole number"):
        configure("04_size_sweep", n_train=0.25)


def test_a_reader_switches_flips_and_transforms_and_sets_the_strongest_noise():
    plain = configure("01_baseline", profile="laptop").recipe
    assert (plain.flips, plain.transforms, plain.noise_std_max) == (True, (), 0)
    no_flips = configure("01_baseline", profile="laptop", flips=False).recipe
    assert no_flips == replace(plain, flips=False)
    assert configure("01_baseline", profile="paper", flips=True).recipe.flips
    recipe = configure("01_baseline", profile="laptop", transforms=["noise", "elastic"],
                       noise_std=700).recipe
    assert (recipe.transforms, recipe.noise_std_max) == (("elastic", "noise"), 700)
    rotated = configure("01_baseline", profile="laptop", transforms=["rotate"], noise_std=700)
    assert rotated.recipe.noise_std_max == 0


def test_noise_has_one_level_if_its_bounds_are_equal_and_they_cannot_be_crossed():
    noise = {"profile": "laptop", "transforms": ["noise"], "noise_std": 700}
    recipe = configure("01_baseline", noise_std_min=700, **noise).recipe
    assert (recipe.noise_std_min, recipe.noise_std_max) == (700, 700)
    with pytest.raises(ParameterError, match="noise_std is 700, less than noise_std_min, 701; "
                                             "raise noise_std or lower"):
        configure("01_baseline", noise_std_min=701, **noise)
    plain = configure("03_noisy_val", profile="laptop", noise_std_min=701, noise_std=700)
    assert plain.recipe.noise_std_min == plain.recipe.noise_std_max == 0   # no crop gets noise
    assert plain.noise_std == 700


def test_a_readers_choice_overrides_the_recipe_of_the_experiment():
    assert configure("04_size_sweep", profile="laptop").recipe == replace(
        PROFILES["laptop"], steps=150, evaluations=1)
    changed = configure("04_size_sweep", profile="laptop", steps=300, width=8).recipe
    assert changed == replace(PROFILES["laptop"], steps=300, evaluations=1, width=8)


def test_a_network_that_is_too_large_is_refused():
    with pytest.raises(ParameterError, match="width is 512 and depth 6, so the U-Net has 32,768 "
                                             "channels at its coarsest level; at most 2,048"):
        configure("01_baseline", width=512, depth=6)


def test_the_digest_depends_on_every_parameter_that_is_used_and_no_other():
    changes = ({}, {"seed": 1}, {"n_train": 3}, {"split": "block"}, {"steps": 5},
               {"transforms": ["rotate"]}, {"transforms": ["noise"]},
               {"transforms": ["noise"], "noise_std": 1},
               {"transforms": ["noise"], "noise_std_min": 1}, {"padding": "valid"},
               {"flips": False}, {"split_seed": 0}, {"slice_share": 0.5}, {"network": "UNet25D"},
               {"transforms": ["elastic", "rotate"]})
    configs = [configure("01_baseline", profile="laptop", **change) for change in changes]
    digests = {config.digest("a") for config in configs} | {configs[0].digest("b")}
    assert len(digests) == len(changes) + 1
    assert configs[-1] == configure("01_baseline", profile="laptop",
                                    transforms=["rotate", "elastic"])
    assert configs[0] == configure(
        "01_baseline", profile="laptop", transforms=[], split_seed=None, flips=None,
        padding="same", network="UNet", noise_std=1, noise_std_min=1)


def test_default_values_do_not_change_the_digest():
    """So that a parameter that is added later renames no run."""
    facts = configure("01_baseline", profile="laptop").facts()
    assert not {"split_seed", "slice_share", "fold"} & set(facts)
    assert not {"transforms", "noise_std_min", "noise_std_max", "padding", "network"} & set(
        facts["recipe"])


def test_each_fold_is_a_run_of_its_own_and_only_where_there_are_folds():
    configs = [configure("11_your_material", profile="tiny", fold=fold) for fold in (None, 0, 1, 2)]
    assert [config.fold for config in configs] == [None, 0, 1, 2]
    assert len({config.digest("a") for config in configs}) == 4
    assert configure("01_baseline", profile="tiny", fold=1) == configure(
        "01_baseline", profile="tiny")
    with pytest.raises(ParameterError, match="fold is -1; it must be a whole number from 0 to 100"):
        configure("11_your_material", profile="tiny", fold=-1)


def test_the_seed_draws_which_slice_trains_and_the_seed_of_the_split_draws_it_alone():
    slices = blobs(40, 16, 16)

    def drawn(**seeds):
        config = configure("01_baseline", profile="tiny", n_train=1, n_val=8, **seeds)
        return config.draw(slices).train.numbers.item()

    assert len({drawn(seed=seed) for seed in range(20)}) > 10
    assert [drawn(seed=seed, split_seed=3) for seed in range(4)] == 4 * [drawn(seed=3)]


def test_the_paper_profile_is_the_posters():
    recipe = configure("01_baseline", profile="paper").recipe
    assert (recipe.width, recipe.depth, recipe.lr, recipe.optimiser, recipe.batch, recipe.crop,
            recipe.epochs) == (64, 4, 1e-5, "rmsprop", 1, 0, 200)
    assert configure("04_size_sweep", profile="paper").recipe.steps == 105 * 200
