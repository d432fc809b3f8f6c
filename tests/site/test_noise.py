"""The noise of the live page: the same in Python and JavaScript, and close to normal."""

import numpy as np
import pytest
from page_noise import UNIT, add_page_noise, draw_noise

DRAW = 'import { drawNoise } from "./noise.js"; say(drawNoise(%d, %d, %d));'


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (0, 1001), (7, 1050), (999, 2**31), (1, 1)])
def test_python_and_javascript_draw_the_same_integers(javascript, seed, number):
    drawn = draw_noise(3000, seed, number)
    assert javascript(DRAW % (3000, seed, number)) == drawn.tolist()


@pytest.mark.parametrize("std", [0, 1, 1000, 5000, 15000])
def test_python_and_javascript_add_the_same_noise(javascript, std):
    """Also where levels are clipped, and where they lie half-way between two integers."""
    image = np.linspace(0, 65535, 40 * 50).astype(np.uint16).reshape(40, 50)
    code = f"""import {{ addNoise, drawNoise }} from "./noise.js";
               say(addNoise(image, drawNoise(image.length, 3, 1001), {std}));"""
    noisy = add_page_noise(image, std, 3, 1001)
    assert javascript(code, image=image) == noisy.ravel().tolist()
    assert (noisy == image).all() == (std == 0)


def test_the_noise_is_close_to_normal():
    noise = draw_noise(501 * 501, 0, 1001) / UNIT
    n = noise.size
    assert abs(noise.mean()) < 4 / n**0.5 and abs(noise.std() - 1) < 0.01
    assert abs((noise**3).mean()) < 0.03 and abs((noise**4).mean() - 2.9) < 0.05  # normal: 3
    assert 4 < abs(noise).max() < 6


def test_seeds_slices_and_pixels_have_noise_of_their_own():
    streams = [draw_noise(20_000, seed, number) for seed in (0, 1, 2) for number in (0, 1, 1001)]
    related = np.corrcoef([*streams, np.roll(streams[0], 1), np.roll(streams[0], 501)])
    assert abs(related - np.eye(len(related))).max() < 0.03
