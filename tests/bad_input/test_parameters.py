"""Parameters that are unknown, of a wrong type, out of range, or do not fit each other."""

import math
import os
import reprlib
from functools import partial

import pytest
from bad_input.spoiling import ADDRESS, COUNT, SET, Cases, must_say

from xraylib.errors import ParameterError
from xraylib.params import Parameters, check_parameters, configure

CASES = Cases()
OR_NONE = " or None (the default)"
SEED = "a whole number from 0 to 2147483647"
SLICES = "a whole number from 1 to 100000"
SIZE = f"{SLICES} or a number between 0 and 1"
SIDE = "a whole number from 8 to 4096"
GREY = "a number from 0 to 65535"
NETWORK = "one of 'UNet', 'UNet25D', 'UNet3D'"
TRANSFORMS = ("a list of 'rotate', 'scale', 'elastic', 'blur', 'contrast', 'brightness', 'noise', "
              "each at most once, or [] (none); on the command line 'blur+noise', or '' (none)")
# What each parameter must be, and which of the values of `WRONG` are right for it.
EXPECTED: dict[str, tuple[str, tuple]] = {
    "profile": ("one of '', 'tiny', 'laptop', 'paper'", ()),
    "data_dir": ("a text in quotes", ("many", "1_0")),
    "volume": ("a text in quotes", ("many", "1_0")), "seed": (SEED, ()),
    "n_seeds": ("a whole number from 1 to 100" + OR_NONE, (None,)),
    "n_train": (SLICES + OR_NONE, (None,)),
    "slice_share": ("a number between 0 and 1" + OR_NONE, (None,)),
    "n_val": (SLICES + OR_NONE, (None,)),
    "sizes": ("a list of training sizes, as [5, 25], or [] (the profile decides)", ()),
    "crops": ("a list of sides in px, as [32, 64]", ()), "split": ("one of 'random', 'block'", ()),
    "split_seed": (SEED + OR_NONE, (None,)),
    "noise_std": (GREY, (1.5,)), "noise_std_min": (GREY, (1.5,)),
    "voxel_nm": ("a number from 0.001 to 1e+09" + OR_NONE, (1.5, None)),
    "fold": ("a whole number from 0 to 100" + OR_NONE, (None,)),
    "example": ("one of 'electrode', 'sandstone'", ()),
    "steps": ("a whole number from 1 to 10000000" + OR_NONE, (None,)),
    "evaluations": ("a whole number from 1 to 10000" + OR_NONE, (None,)),
    "width": ("a whole number from 1 to 512" + OR_NONE, (None,)),
    "depth": ("a whole number from 1 to 6" + OR_NONE, (None,)),
    "padding": ("one of 'same', 'valid'", ()), "network": (NETWORK, ()),
    "crop": ("a whole number from 0 to 100000" + OR_NONE, (None,)),
    "batch": ("a whole number from 1 to 10000" + OR_NONE, (None,)),
    "lr": ("a number from 1e-09 to 1" + OR_NONE, (None,)),
    "flips": ("True or False" + OR_NONE, (None, True)),
    "transforms": (TRANSFORMS, ()), "use_published": ("True or False", (True,)),
}
WRONG = (None, "many", -1, 1.5, math.nan, math.inf, True, "1_0", 10**400)


def is_right(value: object, right: tuple) -> bool:
    """Whether a value is among those that are right, type and all."""
    return any(value is each or (type(value) is type(each) and value == each) for each in right)


PARAMETERS = [(name, value, expected) for name, (expected, right) in EXPECTED.items()
              for value in WRONG if not is_right(value, right)] + [
    ("crops", [], "a list of sides in px, as [32, 64]"),
    ("sizes[0]", [0], SIZE), ("sizes[1]", [0.25, 1.5], SIZE), ("sizes[1]", [5, None], SIZE),
    ("sizes[0]", [True], SIZE), ("crops[1]", [32, 4], SIDE), ("crops[0]", [16.5], SIDE),
    ("depth", 7, "a whole number from 1 to 6"), ("network", "UNet4D", NETWORK),
    ("network", ["UNet"], NETWORK), ("lr", 0, "a number from 1e-09 to 1" + OR_NONE),
    ("n_train", 0, SLICES + OR_NONE), ("n_train", 0.5, SLICES + OR_NONE),
    ("slice_share", 0, "a number between 0 and 1"), ("slice_share", 1, "a number between 0 and 1"),
    ("n_seeds", 101, "a whole number from 1 to 100"), ("noise_std", 65536, GREY),
    ("seed", 2**31, SEED), ("transforms", ["flips"], TRANSFORMS),
    ("transforms", ["noise", "noise"], TRANSFORMS), ("transforms", [["noise"]], TRANSFORMS),
    ("split", ["block"], "one of 'random', 'block'"), ("data_dir", ["a", "b"], "a text in quotes"),
    ("flips", "yes", "True or False" + OR_NONE),
    ("batch", 2.5, "a whole number from 1 to 10000" + OR_NONE),
    ("crop", "32px", "a whole number from 0 to 100000" + OR_NONE),
    ("voxel_nm", 0, "a number from 0.001 to 1e+09"),
]


@pytest.mark.parametrize(("name", "value", "expected"), PARAMETERS,
                         ids=lambda part: reprlib.repr(part)[:30])
def test_a_wrong_parameter_is_one_line(name, value, expected):
    with pytest.raises(ParameterError) as raised:
        check_parameters(**{name.partition("[")[0]: value})
    wrong = value[int(name[-2])] if name.endswith("]") else value
    must_say(f"{name} is {reprlib.repr(wrong)}; it must be {expected}", str(raised.value))


def test_every_parameter_is_tried_and_no_other_is_known():
    assert set(EXPECTED) == set(Parameters.model_fields)
    with pytest.raises(ParameterError) as raised:
        check_parameters(colour=1)
    must_say("unknown parameter 'colour'; the known ones are profile, data_dir, ",
             str(raised.value))


# -- sweeps ----------------------------------------------------------------------------------------


SAME = ("are the same run of 01_baseline. Give each value once, and vary only what the run depends "
        "on.")
RANGE = ("is not a range of at most 100,000 values. Write 0:5 for 0, 1, 2, 3, 4, or list the "
         "values: 0,3,7.")
LOWER = "but there are 10 slices to draw from. Lower one of them."
CUBES = ("network is 'UNet3D', which is trained on cubes (crop above 0) with padding 'same' and "
         "without transforms. Change these, or choose another network.")
NEIGHBOURS = ("A network that sees neighbouring slices cannot learn from these: they are not all "
              "slices of a part of one volume, in order. Set split to \"block\", in an experiment "
              "without copies beside originals, or network to \"UNet\".")
for more, message in [
    ("-p seed", "-p seed has no value. Write -p NAME=VALUE, -p NAME=A,B,C or -p NAME=0:5."),
    ("-p seed=0 -p seed=1", "-p seed is given twice. Give it once: -p NAME=VALUE, -p NAME=A,B,C"),
    ("-p sede=1", "unknown parameter 'sede'; the known ones are profile, data_dir"),
    ("-p experiment=x", "unknown parameter 'experiment'; the known ones are"),
    ("-p seed=0,0", f"seed=0 and seed=0 {SAME}"), ("-p seed=0,0.0", f"seed=0 and seed=0.0 {SAME}"),
    ("-p n_train=5,5e0", f"n_train=5 and n_train=5e0 {SAME}"),
    ("-p noise_std=1,2", f"noise_std=1 and noise_std=2 {SAME}"),
    *((f"-p seed={text}", f"{reprlib.repr(text)} {RANGE}") for text in (
        "0:100000000000", "0:1_0", "3:1", "1:", ":5", "a:b", "-2:2", "0:9:2", "0:" + 5000 * "9")),
    ("-p seed=1,,2", f"seed is ''; it must be {SEED}."),
    *((f"-p seed={text}", f"seed is '{text}'; it must be {SEED}.") for text in (
        "", "0x10", "1_0", "zero", "1.5", "-1", "nan")),
    ("-p seed=0:1000 -p n_train=1:200",
     "these parameters make 199,000 runs, but a sweep has at most 100,000."),
    ("-p n_train=400", f"n_train + n_val is 400 + 1 = 401, {LOWER}"),
    ("-p n_val=10", f"n_train + n_val is 1 + 10 = 11, {LOWER}"),
    ("-p n_train=4,400", f"n_train + n_val is 400 + 1 = 401, {LOWER}"),
    ("-p n_val=60", f"n_train + n_val is 1 + 60 = 61, {LOWER}"),
    ("-p n_train=8 -p n_val=3", f"n_train + n_val is 8 + 3 = 11, {LOWER}"),
    ("-p slice_share=0.5 -p n_val=10", f"n_train + n_val is 1 + 10 = 11, {LOWER}"),
    ("-p slice_share=0.5 -p n_train=5", "slice_share is 0.5 and n_train 5, but a share is of one "
     "slice; leave one of them out."),
    ("-p n_train=0.5", f"n_train is '0.5'; it must be {SLICES}{OR_NONE}."),
    ("-p split=block -p n_val=9", "A block split of 10 slices with 9 for validation leaves none to "
     "train on. Lower n_val."),
    ("-p split=blocks", "split is 'blocks'; it must be one of 'random', 'block'."),
    ("-p transforms=blur+blur", f"transforms is 'blur+blur'; it must be {TRANSFORMS}."),
    ("-p transforms=flips", f"transforms is 'flips'; it must be {TRANSFORMS}."),
    ("-p batch=1 -p crop=4", "batch is 1 and crop 4, which is one pixel at depth 2, but batch norm "
     "needs two. Raise batch or crop, or lower depth."),
    *((f"-p padding=valid -p depth=4 -p crop={crop} -p batch={batch}",
       f"crop is {crop}, but with padding 'valid' and depth 4 each crop needs a margin of 92 px, "
       f"which is too much for a batch of {batch}. Raise crop, or lower depth or batch.")
      for crop, batch in ((16, 2), (32, 1024))),
    *((f"-p network=UNet3D -p {wrong}", CUBES) for wrong in (
        "crop=0", "padding=valid", "transforms=blur")),
    ("-p network=UNet3D", NEIGHBOURS), ("-p network=UNet25D", NEIGHBOURS),
    ("-p network=UNet4D", f"network is 'UNet4D'; it must be {NETWORK}."),
    *((f"-p {name}=3", f"a sweep does not use {name}. Vary what a run depends on, such as -p "
       "seed=0:3. --use-published takes published runs.") for name in (
        "volume", "n_seeds", "sizes", "crops", "voxel_nm", "use_published", "example", "fold")),
    *((f"--workers {text}", f"argument --workers: '{text}' {COUNT}") for text in (
        "-1", "two", "1.5", "1_0")),
    *((f"--scheduler {text}", f"'{text}' {ADDRESS}") for text in (
        "localhost", "10.0.0.1", "8786", "tcp://10.0.0.1", "http://10.0.0.1:8786",
        "tcp:/10.0.0.1:8786", "tcp://10.0.0.1:port", "tcp://10.0.0.1:8786/x")),
]:
    CASES.add(f"sweep {more[:60]}", message, f"{SET.replace(' -p steps=1', '')} {more}")
for name, line, message in [
    ("of no experiment", "sweep 05",
     "argument experiment: invalid choice: '05' (choose from '01_baseline', "),
    ("of no profile", "sweep 01_baseline -p profile=huge",
     "profile is 'huge'; it must be one of '', 'tiny', 'laptop', 'paper'."),
    ("over profiles", "sweep 01_baseline -p profile=tiny,laptop",
     "profile is 'tiny,laptop'; it must be one of"),
    ("of noise without a level",
     "sweep 07_fresh_noise -p profile=tiny -p noise_std=5 -p noise_std_min=6",
     "noise_std is 5, less than noise_std_min, 6; raise noise_std or lower noise_std_min."),
]:
    CASES.add(f"sweep {name}", message, line)
for name, value, message in [
    ("PROFILE", "lptop", "profile is 'lptop'; it must be one of '', 'tiny', 'laptop', 'paper'."),
    ("SEEDS", "3x", "n_seeds is '3x'; it must be a whole number from 1 to 100"),
    ("SEEDS", "0", "n_seeds is '0'; it must be a whole number from 1 to 100"),
    ("DATA", "nowhere", "nowhere/data is not a folder. data_dir must name a folder that holds "
     "data/ (images) and labels/ (masks)."),
]:
    CASES.add(f"environment: XRAYLIB_{name}={value}", message,
              "sweep 01_baseline" if name != "SEEDS" else partial(check_parameters, n_seeds=None),
              partial(os.environ.__setitem__, f"XRAYLIB_{name}", value))
CASES.add("a run of cubes with transforms", CUBES, partial(
    configure, "09_three_d", profile="tiny", network="UNet3D", transforms=["blur"]))
CASES.add("a run with a network that no memory holds", "width is 512 and depth 6, so the U-Net has "
          "32,768 channels at its coarsest level; at most 2,048 are allowed. Lower one.",
          partial(configure, "01_baseline", width=512, depth=6))
CASES.add("a run of fresh noise without noise", "transforms is ['blur']; 07_fresh_noise needs "
          "'noise': add it.", partial(
              configure, "07_fresh_noise", profile="tiny", transforms=["blur"]))
CASES.add("a run of no experiment", "experiment is '11_none'; it must be one of '01_baseline', ",
          partial(configure, "11_none"))


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_written(name, refuse):
    refuse(*CASES[name])
