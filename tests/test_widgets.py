"""The panels without a browser: moved by setting the values of their controls."""

from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import matplotlib.image
import numpy as np
import pytest
from conftest import blobs, dataset_of, decoded, text

from xraylib.data import NI_YSZ
from xraylib.datasets import open_dataset
from xraylib.errors import RunError
from xraylib.figures import error_image, pictures_in_a_row
from xraylib.inference import predict
from xraylib.noise import add_noise
from xraylib.params import configure
from xraylib.runs import config_of, run_experiment
from xraylib.widgets import (
    Predictor,
    compare_networks,
    error_numbers,
    explore_errors,
    explore_training,
    picture,
)


def tiny_run(folder, experiment="01_baseline", **changes):
    """A run of 6 steps on the slices of a folder."""
    config = configure(experiment, profile="tiny", data_dir=str(folder), steps=6, **changes)
    return run_experiment(config, open_dataset("tiny", str(folder)), progress=False)


@pytest.fixture
def run(folder):
    return tiny_run(folder)


def clean_slices(run):
    """The validation slices of a run without their noisy copies."""
    val = config_of(run).draw(dataset_of(run).slices).val
    return val[val.noise_std == 0]


def control(panel, description):
    (found,) = [child for child in panel.children[0].children if child.description == description]
    return found


def test_errors_follow_the_sliders_and_the_buttons(run):
    slices = clean_slices(run)
    panel = explore_errors(run, slices)
    predictor = Predictor(run.model(), slices, run.config["seed"])
    for number, noise, kind, palette in ((1, 0, "misclassified", "rgb"), (3, 0, "overlay", "safe"),
                                         (3, 7000, "confidence", "rgb"), (8, 7000, "image", "rgb")):
        values = {"slice": number, "added noise": noise, "picture": kind, "colours": palette}
        for name, value in values.items():
            control(panel, name).value = value
        guess, one = predictor.predict(number - 1, noise), slices[[number - 1]]
        image = predictor.image(number - 1, noise)
        expected = picture(kind, image, one.labels[0], guess, NI_YSZ, palette)
        assert (decoded(panel) == expected).all()
        assert error_numbers(one, guess.labels) in text(panel)
        assert f"Slice {one.numbers[0]} of the volume" in text(panel)
    dice = run.scores["val"].image_dice
    for button, expected in (("worst", dice.argmin()), ("next", np.argsort(dice)[1]),
                             ("best", dice.argmax()), ("next", dice.argmin())):
        control(panel, button).click()
        assert control(panel, "slice").value == expected + 1


def test_slices_that_the_run_has_not_scored_are_ranked_too(run):
    slices = blobs(5, 48, 40, seed=3)
    panel = explore_errors(run, slices)
    wrong = [(mask != guess).mean() for mask, guess
             in zip(slices.labels, predict(run.model(), slices.images), strict=True)]
    control(panel, "worst").click()
    worst = control(panel, "slice").value
    control(panel, "best").click()
    assert wrong[worst - 1] > wrong[control(panel, "slice").value - 1]


def test_training_shows_every_snapshot(run):
    slices = clean_slices(run)
    panel = explore_training(run, slices)
    snapshots = run.snapshots()
    assert control(panel, "evaluation").max == len(snapshots) == 3
    shown = []
    for index, (step, load) in enumerate(snapshots.items(), 1):
        control(panel, "evaluation").value = index
        labels = predict(load(), slices.images[:1])[0]
        errors = error_image(slices.labels[0], labels, NI_YSZ)
        assert (decoded(panel)[:errors.shape[0], :errors.shape[1]] == errors).all()
        assert f">{step}</td>" in text(panel)
        shown.append(decoded(panel)[:, errors.shape[1]:])
    assert (shown[0] != shown[1]).any()                            # the marker has moved


def test_training_with_noise_starts_at_that_noise(folder):
    run = tiny_run(folder, "03_noisy_val", noise_std=3000)
    panel = explore_training(run, clean_slices(run))
    assert control(panel, "added noise").value == 3000


def test_a_run_without_snapshots_shows_its_best_network_alone(run):
    for path in (run.folder / "epochs").iterdir():
        path.unlink()
    assert control(explore_training(run, clean_slices(run)), "evaluation").max == 1


def test_a_run_without_weights_has_no_panel(run):
    (run.folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match="holds no weights"):
        explore_errors(run, clean_slices(run))


def test_a_comparison_has_a_picture_per_run(run, folder):
    other = tiny_run(folder, seed=1)
    slices = clean_slices(run)
    panel = compare_networks({"<a>": run, "b": other}, slices, noise_std=3000)
    noisy = add_noise(slices.images[0], 3000, 0, int(slices.numbers[0]))[None]
    expected = [error_image(slices.labels[0], predict(each.model(), noisy)[0], NI_YSZ)
                for each in (run, other)]
    assert (decoded(panel) == pictures_in_a_row(expected)).all()
    assert "wrong pixels" in text(panel) and "&lt;a&gt;" in text(panel) and "<a>" not in text(panel)


def test_names_of_phases_come_from_the_slices(run):
    phases = replace(NI_YSZ, names=("air", "glass", "iron"))
    slices = replace(blobs(2, 48, 40), phases=phases)
    for panel in (explore_errors(run, slices), compare_networks({"a": run}, slices)):
        assert all(name in text(panel) for name in phases.names) and "nickel" not in text(panel)


def test_without_a_kernel_a_picture_and_a_sentence_stand_for_the_sliders(run):
    panel = explore_errors(run, clean_slices(run))
    stored = panel._repr_mimebundle_()
    assert stored["text/plain"].startswith("(Sliders:")
    still = matplotlib.image.imread(BytesIO(b64decode(stored["image/png"])))
    assert np.array_equal(np.round(255 * still[..., :3]), decoded(panel))
