import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib import train
from xraylib.batches import crops, draw, flip, grey_statistics
from xraylib.predict import WeightsError, autocast, load_weights, predict, save_weights
from xraylib.profiles import Recipe
from xraylib.scores import evaluate, interface_distance, near_interface, total_loss
from xraylib.train import TrainingError, fit
from xraylib.unet import UNet

RECIPE = Recipe(width=4, depth=2, crop=16, batch=4, augment=True, optimiser="adamw", lr=1e-2, steps=24, epochs=0,
                evaluations=4, eval_slices=3)
PUBLISHED = Recipe(width=4, depth=2, crop=0, batch=1, augment=False, optimiser="rmsprop", lr=1e-4, steps=0, epochs=2,
                   evaluations=2, eval_slices=0)
TRAIN, VAL = blobs(7, 40, 36), blobs(5, 37, 41, seed=3)


class Killed(Exception):
    pass


def weights(folder):
    return load_weights(folder / "model.safetensors").state_dict()


@pytest.mark.parametrize(("recipe", "killed_at"), [(RECIPE, 0), (RECIPE, 1), (RECIPE, 3), (PUBLISHED, 1)])
def test_a_killed_run_resumes_and_ends_bit_for_bit_the_same(tmp_path, monkeypatch, recipe, killed_at):
    whole = fit(recipe, TRAIN, VAL, 0, tmp_path / "whole")
    seen = []

    def evaluate_then_die(*arguments):
        if len(seen) == killed_at:
            raise Killed
        seen.append(1)
        return evaluate(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train, "evaluate", evaluate_then_die)
        fit(recipe, TRAIN, VAL, 0, tmp_path / "killed")
    resumed = fit(recipe, TRAIN, VAL, 0, tmp_path / "killed")
    for first, second in zip(whole, resumed, strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert not list((tmp_path / "killed").rglob("*.part*"))
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_it_learns_and_keeps_the_best_weights(tmp_path):
    recipe = Recipe(**vars(RECIPE) | {"steps": 120, "width": 8, "crop": 32})
    history = fit(recipe, TRAIN, TRAIN, 0, tmp_path)
    best = max(row["dice"] for row in history)
    assert best > 0.99 > history[0]["dice"]
    watched = TRAIN[np.array(train.evenly(7, 3)) - 1]
    assert evaluate(load_weights(tmp_path / "model.safetensors"), watched).mean == best


def test_the_seed_decides_and_the_global_random_state_does_not(tmp_path):
    torch.manual_seed(1)
    first = fit(RECIPE, TRAIN, VAL, 0, tmp_path / "a")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = fit(RECIPE, TRAIN, VAL, 0, tmp_path / "b")
    other = fit(RECIPE, TRAIN, VAL, 1, tmp_path / "c")
    assert torch.equal(state, torch.get_rng_state())
    assert [row["dice"] for row in first] == [row["dice"] for row in second] != [row["dice"] for row in other]


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tmp_path):
    with pytest.raises(TrainingError, match="The loss is nan at step .* lower it"):
        fit(Recipe(**vars(RECIPE) | {"lr": 1e38}), TRAIN, VAL, 0, tmp_path)


def test_history_has_a_row_an_evaluation_and_snapshots_are_at_most_twelve(tmp_path):
    history = fit(Recipe(**vars(RECIPE) | {"steps": 26, "evaluations": 13}), TRAIN, VAL, 0, tmp_path)
    assert [row["step"] for row in history] == list(range(2, 27, 2))
    assert [row["images"] for row in history] == list(range(8, 105, 8))
    snapshots = sorted(path.stem for path in (tmp_path / "epochs").iterdir())
    assert len(snapshots) == 12 and snapshots[-1] == "000026"


def test_the_published_schedule_lowers_the_rate_on_a_plateau():
    model = UNet(2, 1)
    optimiser, schedule = train.optimiser_of(model, PUBLISHED, 10)
    for _ in range(7):
        schedule.step(0.5)                            # validation Dice stands still: one best, then more than 5 worse
    assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert optimiser.defaults["momentum"] == 0.999 and optimiser.defaults["weight_decay"] == 1e-8


def test_every_slice_comes_once_before_any_comes_again():
    generator = torch.Generator().manual_seed(0)
    order, position, seen = torch.randperm(5, generator=generator), 0, []
    for _ in range(10):
        taken, order, position = draw(order, position, 3, generator)
        seen += taken.tolist()
    assert all(sorted(seen[start:start + 5]) == list(range(5)) for start in range(0, 30, 5))
    taken, *_ = draw(torch.arange(2), 0, 7, generator)                             # a batch larger than the set
    assert sorted(np.bincount(taken.tolist())) == [3, 4]


def test_crops_are_real_windows_and_image_and_label_move_together():
    image = torch.arange(8 * 9, dtype=torch.int32).reshape(1, 8, 9).to(torch.uint16)
    label = (image.int() % 3).to(torch.uint8)
    batch, target = crops(image, label, torch.zeros(512, dtype=int), 4, True, torch.Generator().manual_seed(0))
    assert batch.shape == (512, 1, 4, 4) and target.shape == (512, 4, 4)
    assert torch.equal(batch[:, 0].long() % 3, target)
    steps = {(int(crop[0, 1] - crop[0, 0]), int(crop[1, 0] - crop[0, 0])) for crop in batch[:, 0]}
    assert steps == {(a, b) for s in (1, -1) for t in (9, -9) for a, b in ((s, t), (t, s))}    # all eight symmetries
    assert {int(crop.min()) for crop in batch} == {9 * y + x for y in range(5) for x in range(6)}   # every corner


def test_whole_slices_and_slices_smaller_than_the_crop():
    images, labels = torch.from_numpy(TRAIN.images), torch.from_numpy(TRAIN.labels)
    for side in (0, 64):
        batch, _ = crops(images, labels, torch.tensor([2]), side, False, torch.Generator().manual_seed(0))
        assert torch.equal(batch[0, 0], images[2].float())


def test_the_eight_flips_are_different_and_lose_nothing():
    image = torch.arange(9).reshape(3, 3)
    turned = [flip(image, turn) for turn in range(8)]
    assert len({tuple(one.flatten().tolist()) for one in turned}) == 8
    assert all(sorted(one.flatten().tolist()) == list(range(9)) for one in turned)


def test_grey_statistics_are_those_of_all_pixels():
    assert grey_statistics(TRAIN) == pytest.approx((TRAIN.images.mean(), TRAIN.images.std()))


def test_evaluation_scores_every_image_whatever_the_batch(monkeypatch):
    torch.manual_seed(0)
    model = UNet(4, 2)
    model.grey.copy_(torch.tensor([35000.0, 8000.0]))
    together = evaluate(model, VAL)
    one_by_one = [evaluate(model, VAL[index:index + 1]) for index in range(len(VAL))]
    assert together.confusion.sum() == VAL.images.size
    assert np.array_equal(together.confusion, np.concatenate([scores.confusion for scores in one_by_one]))
    assert together.loss == pytest.approx(np.mean([scores.loss for scores in one_by_one]), rel=1e-3)
    assert together.mean == pytest.approx(together.dice.mean())
    assert np.array_equal(predict(model, VAL.images)[:1], predict(model, VAL.images[:1]))
    assert model.training


def test_total_loss_is_cross_entropy_and_dice():
    logits, target = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=int)
    assert total_loss(logits, target).item() > np.log(3)


def test_weights_come_back_as_they_were_saved(tmp_path):
    model = UNet(4, 2, padding="valid").eval()
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert (loaded.width, loaded.depth, loaded.padding, loaded.training) == (4, 2, "valid", False)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    save_weights(model, tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "w.safetensors").stat().st_size


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-50]),
                                   lambda path: path.write_text("weights")])
def test_damaged_weights_are_one_sentence(tmp_path, spoil):
    path = tmp_path / "w.safetensors"
    save_weights(UNet(2, 1), path)
    spoil(path)
    with pytest.raises(WeightsError, match="w.safetensors is no weights file"):
        load_weights(path)


def test_distance_to_an_interface():
    truth = np.zeros((2, 5, 8), np.uint8)
    truth[0, :, 4:] = 1
    assert interface_distance(truth)[0, 2].tolist() == [4, 3, 2, 1, 1, 2, 3, 4]
    assert np.isinf(interface_distance(truth)[1]).all()
    predicted = truth.copy()
    predicted[0, 0, [3, 1, 0]] = 2
    assert near_interface(truth, predicted) == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert np.isnan(near_interface(truth, truth)).all()


def test_autocast_runs_on_this_machine():
    with autocast(torch.device("cpu")):
        assert torch.isfinite(UNet(2, 1)(torch.zeros(1, 1, 8, 8))).all()
