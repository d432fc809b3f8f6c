"""Colour-blind readers tell the colours of the page apart, and text stands out from its paper."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

ROOT = Path(__file__).resolve().parents[2]
# How linear red, green and blue look without one kind of cones (Machado, Oliveira, Fernandes 2009).
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}


def rgb(colour):
    return np.array([int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)])


def linear(colour):
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def seen(colour, vision):
    """A colour, RGB 0..1, as someone with this vision sees it, in CIELAB."""
    light = np.clip(np.asarray(VISION[vision]) @ linear(colour), 0, 1)
    return rgb2lab(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", VISION)
def test_phases_and_right_pixels_look_different(facts, vision):
    """Colours of phases differ from each other, and from the greys of right pixels."""
    phases = [rgb(colour) for colour in facts["phases"]["colours"]]
    greys = [np.full(3, level / 255) for level in (16, 52, 88)]
    pairs = [*combinations(phases, 2), *((phase, grey) for phase in phases for grey in greys)]
    apart = [deltaE_ciede2000(seen(one, vision), seen(other, vision)) for one, other in pairs]
    assert min(apart) > 12


def contrast(one, other):
    """Contrast of two colours as WCAG 2 defines it, 1 to 21."""
    lights = sorted(float(linear(rgb(each)) @ [0.2126, 0.7152, 0.0722]) for each in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(theme):
    style = (ROOT / "site/style.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
    pairs = [(ink, paper) for ink in ("ink", "faint", "accent") for paper in ("paper", "card")]
    pairs += [("warn", "paper"), ("ink", "warn-paper"), ("on-accent", "accent")]
    for ink, paper in pairs:
        assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
