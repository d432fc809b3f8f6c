"""The experiments of notebooks 5 to 9."""

from typing import Any

from ..data import Slices
from ..datasets import SIZES
from ..errors import ParameterError
from ..experiments import EXPERIMENTS, LIKE_105_SLICES, Sets, Split, experiment
from ..noise import noisy_copies
from ..params import PROFILES, RECIPE_CHECKS
from ..training import Recipe

PIXELS_PER_STEP = 2**16  # of `recipe_with_equal_pixels`: one crop of 256 px


@experiment("05_single_image", counts=(1, 100), tiny=(1, 8), scored=20, noisy=True,
            recipes={"laptop": {"steps": 1500}, "paper": LIKE_105_SLICES},
            poster="announced", poster_sets="a single image, transformed; not stated")
def single_image(slices: Slices, split: Split) -> Sets:
    """Train on one slice or a part of it; validate on the baseline's slices. All are clean."""
    return split(slices)


@experiment("06_small_crops", counts=(400, 100), tiny=(24, 8), scored=20,
            poster="announced", poster_sets="smaller images; not stated")
def small_crops(slices: Slices, split: Split) -> Sets:
    """Draw the sets of the baseline; the runs differ in their crops."""
    return split(slices)


@experiment("07_noisy_only", counts=(400, 100), tiny=(24, 8), sizes=(1, 5, 400),
            tiny_sizes=(1 / 4, 2, 8), noisy=True,
            poster="announced", poster_sets="noisy images; not stated")
def noisy_only(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Draw the sets of the baseline and add noise to every slice, the same in each epoch."""
    train, val = split(slices)
    return noisy_copies(train, noise_std, seed), noisy_copies(val, noise_std, seed)


@experiment("07_fresh_noise", counts=(400, 100), tiny=(24, 8), noisy=True,
            recipes=dict.fromkeys(PROFILES, {"transforms": ("noise",)}),
            poster="announced", poster_sets="noisy images; not stated")
def fresh_noise(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Train on clean slices, to which each step adds new noise; validate on noisy ones."""
    train, val = split(slices)
    return train, noisy_copies(val, noise_std, seed)


@experiment("09_three_d", counts=(400, 20), tiny=(32, 8), noisy=True, split="block",
            recipes={"tiny": {"eval_slices": 0}, "laptop": {"eval_slices": 0, "evaluations": 5}},
            poster="announced", poster_sets="3D; not stated")
def three_d(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Draw two blocks of neighbouring slices, each slice with its own noise (0: all clean)."""
    train, val = split(slices)
    return noisy_copies(train, noise_std, seed), noisy_copies(val, noise_std, seed)


def require_cubes(recipe: Recipe) -> None:
    """Raise `ParameterError` if a 3-D network cannot be trained with this recipe."""
    if recipe.padding == "valid" or recipe.transforms or not recipe.crop:
        raise ParameterError("network is 'UNet3D', which is trained on cubes (crop above 0) with "
                             "padding 'same' and without transforms. Change these, or choose "
                             "another network.")


RECIPE_CHECKS["UNet3D"] = require_cubes


def stack_networks(profile: str) -> dict[str, dict[str, Any]]:
    """Return the networks that notebook 9 compares, as parameters that differ from the profile.

    A 3-D kernel has 27 weights, three times the 9 of a 2-D kernel. "3-D" has as many weights as
    "2-D", with its channels divided by the square root of 3. "3-D wide" has as many channels. All
    train for about the same time in the laptop profile. On a CPU with AVX2, a step of 8 cubes takes
    1.0 and 1.55 times as long as a step of "2-D". A cube is four px wide at the coarsest level, so
    16 px, the best of 8, 12, 16, 20 and 24 px for noisy validation slices in equal time.

    Args:
        profile: "tiny", "laptop" or "paper".
    """
    recipe = PROFILES[profile]
    cubes = {"network": "UNet3D", "crop": 4 * 2**recipe.depth, "batch": 8}
    wide = {"width": recipe.width, "steps": round(recipe.steps / 1.55) or None}
    return {"2-D": {}, "2.5-D": {"network": "UNet25D"},
            "3-D": cubes | {"width": round(recipe.width / 3**0.5)}, "3-D wide": cubes | wide}


def recipe_with_equal_pixels(crop: int, profile: str) -> dict[str, int]:
    """Return crop, batch and steps that show a network as many pixels as the profile does.

    A step sees about `PIXELS_PER_STEP` pixels at every size of the crops, so the number of steps
    is about the same, too.

    Args:
        crop: Side of the crops, px.
        profile: "tiny", "laptop" or "paper".
    """
    recipe = PROFILES[profile]
    steps = recipe.steps or recipe.epochs * EXPERIMENTS["06_small_crops"].counts[0]
    batch = max(1, round(PIXELS_PER_STEP / crop**2))
    pixels = steps * recipe.batch * (recipe.crop or SIZES[profile][2]) ** 2
    return {"crop": crop, "batch": batch, "steps": max(1, round(pixels / (batch * crop**2)))}
