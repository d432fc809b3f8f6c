"""The sliders without a browser: the pure functions, and the panels moved by setting values."""

import io

import numpy as np
import pytest
from conftest import blobs
from PIL import Image

from xraylib.augment import TRANSFORMS, example
from xraylib.noise import add_noise
from xraylib.predict.network import load_weights, predict
from xraylib.runs.folder import RunError, execute, load
from xraylib.runs.profiles import configure
from xraylib.show import explore, plots, views
from xraylib.show.views import Guess
from xraylib.slices.labelled import PALETTES
from xraylib.slices.sets import open_source


@pytest.fixture
def run(folder):
    config = configure("01_baseline", profile="tiny", data_dir=str(folder), steps=6)
    return execute(config, open_source("tiny", str(folder)))


def decoded(panel):
    (image,) = panel.children[1].children[0].children
    return np.asarray(Image.open(io.BytesIO(image.value)))


def control(panel, description):
    (found,) = [child for child in panel.children[0].children if child.description == description]
    return found


TRUTH = np.zeros((6, 6), np.uint8)
TRUTH[:, 3:] = 2
WRONG = TRUTH.copy()
WRONG[0, 0], WRONG[1, 5] = 1, 0
GUESS = Guess(WRONG, np.linspace(1 / 3, 1, 36, dtype=np.float32).reshape(6, 6))
IMAGE = np.arange(36, dtype=np.uint16).reshape(6, 6) * 1000


@pytest.mark.parametrize("palette", ["rgb", "safe"])
@pytest.mark.parametrize("kind", ["misclassified", "overlay"])
def test_wrong_pixels_have_the_colour_of_their_true_phase(kind, palette):
    shown = views.picture(kind, IMAGE, TRUTH, GUESS, palette)
    assert (shown[0, 0] == PALETTES[palette][0]).all() and (shown[1, 5] == PALETTES[palette][2]).all()
    right = TRUTH == WRONG
    assert (shown[right].max(1) == shown[right].min(1)).all()             # all others are grey


def test_the_other_pictures():
    assert (views.picture("true mask", IMAGE, TRUTH, GUESS) == plots.mask_image(TRUTH)).all()
    assert (views.picture("prediction", IMAGE, TRUTH, GUESS) == plots.mask_image(WRONG)).all()
    grey = views.picture("image", IMAGE, TRUTH, GUESS)
    assert grey.min() == 0 and grey.max() == 255 and (np.diff(grey[..., 0].ravel().astype(int)) >= 0).all()
    confidence = views.picture("confidence", IMAGE, TRUTH, GUESS).astype(int).sum(-1)
    assert confidence[0, 0] < confidence[3, 0] < confidence[5, 5]


def test_numbers_are_those_of_the_slice():
    text = views.numbers(TRUTH, WRONG)
    dice = views.dice_of(TRUTH, WRONG)
    assert dice == pytest.approx([2 * 17 / (18 + 18), 0, 2 * 17 / (18 + 17)])
    assert f"{100 * dice.mean():.2f} %" in text and "5.56 %" in text                     # 2 of 36
    assert "pore &rarr; YSZ" in text and "nickel &rarr; pore" in text
    assert "none is wrong" in views.numbers(TRUTH, TRUTH)


def test_a_prediction_is_made_once(run, monkeypatch):
    slices, calls = blobs(3, 48, 40), []
    guesser = views.Guesser(run.model(), slices)
    original = views.logits_of
    monkeypatch.setattr(views, "logits_of", lambda *a: calls.append(1) or original(*a))
    first = guesser.guess(1, 5000)
    assert guesser.guess(1, 5000) is first and len(calls) == 1
    assert (first.labels == predict(run.model(), add_noise(slices.images[1], 5000, 0, 2)[None])[0]).all()
    assert first.confidence.min() >= 1 / 3 - 1e-3 and first.confidence.max() <= 1


def test_own_slices_are_the_clean_validation_slices(run, folder):
    assert (explore.own_slices(run).numbers == run.scores["val"].numbers).all()
    (folder / "labels" / "slice_0001.tif").write_bytes((folder / "labels" / "slice_0002.tif").read_bytes())
    with pytest.raises(RunError, match="have changed since; run its notebook again"):
        explore.own_slices(run)


def test_errors_follow_the_sliders_and_the_buttons(run):
    panel, slices = explore.explore_errors(run), explore.own_slices(run)
    guesser = views.Guesser(run.model(), slices, run.config["seed"])
    for number, noise, kind, palette in ((1, 0, "misclassified", "rgb"), (3, 0, "overlay", "safe"),
                                         (3, 7000, "confidence", "rgb"), (8, 7000, "image", "rgb")):
        for name, value in (("slice", number), ("added noise", noise), ("picture", kind), ("colours", palette)):
            control(panel, name).value = value
        guess, truth = guesser.guess(number - 1, noise), slices.labels[number - 1]
        assert (decoded(panel) == views.picture(kind, guesser.image(number - 1, noise), truth, guess, palette)).all()
        assert views.numbers(truth, guess.labels) in panel.children[1].children[1].value
    dice = run.scores["val"].dice.mean(1)
    control(panel, "worst").click()
    assert control(panel, "slice").value == dice.argmin() + 1
    control(panel, "next").click()
    assert control(panel, "slice").value == np.argsort(dice)[1] + 1
    control(panel, "best").click()
    assert control(panel, "slice").value == dice.argmax() + 1


def test_training_shows_every_snapshot(run):
    panel, slices = explore.explore_training(run), explore.own_slices(run)
    kept = explore.snapshots(run)
    assert control(panel, "evaluation").max == len(kept) == 3
    shown = []
    for index, path in enumerate(kept.values(), 1):
        control(panel, "evaluation").value = index
        errors = plots.error_image(slices.labels[0], predict(load_weights(path), slices.images[:1])[0])
        assert (decoded(panel)[:errors.shape[0], :errors.shape[1]] == errors).all()
        shown.append(decoded(panel)[:, errors.shape[1]:])
    assert (shown[0] != shown[1]).any()                                          # the marker has moved


def test_transforms_follow_the_menu_four_draws_at_a_time():
    one = blobs(1, 48, 41)
    panel = explore.explore_transforms(one, side=16, noise_max=3000)
    for names, draws, palette in (((), 1, "safe"), (TRANSFORMS, 1, "rgb"), (("rotate", "noise"), 7, "safe")):
        for name, value in (("transforms", names), ("draws", draws), ("colours", palette)):
            control(panel, name).value = value
        images, labels = zip(*(example(one, (16, 12), 16, names, 3000, 4 * draws + index) for index in range(4)),
                             strict=True)
        shown = decoded(panel)[::4, ::4]                                           # each pixel is 4 x 4
        masks = views.side_by_side([plots.mask_image(label, palette) for label in labels])
        assert (shown[-16:] == masks).all() and (decoded(panel)[3::4, 3::4] == shown).all()
        greys = shown[:16, :16, 0].ravel().astype(int)
        assert (np.diff(greys[np.argsort(images[0].ravel())]) >= 0).all() and np.ptp(greys) > 100
    grey, _ = np.split(decoded(panel), 2)
    assert len({part.tobytes() for part in np.split(grey[:, :grey.shape[1] // 4 * 4], 4, 1)}) == 4


def test_comparison_has_a_picture_a_run(run, folder):
    config = configure("01_baseline", profile="tiny", data_dir=str(folder), steps=6, seed=1)
    other = execute(config, open_source("tiny", str(folder)))
    slices = explore.own_slices(run)
    panel = explore.compare({"a": run, "b": other}, noise_std=3000)
    noisy = add_noise(slices.images[0], 3000, 0, int(slices.numbers[0]))[None]
    expected = [plots.error_image(slices.labels[0], predict(each.model(), noisy)[0]) for each in (run, other)]
    assert (decoded(panel) == views.side_by_side(expected)).all()
    assert "wrong pixels" in panel.children[1].children[1].value


def test_a_volume_is_cut_where_the_sliders_stand(monkeypatch):
    """Grey levels as they are, so that the stretch, which looks at every third row and column, is the same turned."""
    monkeypatch.setattr(views, "grey_picture", lambda image: np.repeat((image >> 8).astype(np.uint8)[..., None], 3, -1))
    slices = blobs(5, 12, 9)
    images, truth = np.stack(slices.images), np.stack(slices.labels)
    guesses = {"a": np.stack(slices.labels), "b": np.zeros((5, 12, 9), np.uint8)}
    guesses["a"][1, 2, 3] = (truth[1, 2, 3] + 1) % 3
    panel = explore.explore_volume(slices, guesses)
    for z, y, x, network, kind, palette in ((2, 3, 4, "a", "misclassified", "safe"), (1, 1, 1, "b", "overlay", "rgb"),
                                            (5, 12, 9, "b", "prediction", "rgb")):
        for name, value in {"z": z, "y": y, "x": x, "network": network, "picture": kind, "colours": palette}.items():
            control(panel, name).value = value
        shown, volume = decoded(panel), guesses[network]
        assert shown.shape == (12 + 8 + 5, 9 + 8 + 5, 3)
        assert (shown[12:20] == 255).all() and (shown[20:, 9:] == 255).all()
        places = [(np.s_[z - 1], shown[:12, :9], y - 1, x - 1), (np.s_[:, y - 1], shown[20:, :9], z - 1, x - 1),
                  (np.s_[:, :, x - 1], shown[:12, 17:].swapaxes(0, 1), z - 1, y - 1)]
        for place, part, row, column in places:
            expected = views.picture(kind, images[place], truth[place], Guess(volume[place], None), palette)
            expected[row], expected[:, column] = views.CUT, views.CUT
            assert (part == expected).all()
        text = panel.children[1].children[1].value
        assert f"The whole volume by {network}" in text and f"{100 * (volume != truth).mean():.2f} %" in text
        assert f"{100 * (truth[1:] != truth[:-1]).mean():.2f} %" in text


def test_what_is_missing_is_said(run):
    for path in (run.folder / "epochs").iterdir():
        path.unlink()
    assert list(explore.snapshots(run).values()) == [run.weights]         # of a published run: its best alone
    (run.folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match="holds no weights"):
        explore.explore_errors(run)
    with pytest.raises(RunError, match="holds no complete run"):
        load(run.folder.parent / "000000000000")


def test_without_a_kernel_a_sentence_stands_for_the_sliders(run):
    assert repr(explore.explore_errors(run)).startswith("(Sliders:")
