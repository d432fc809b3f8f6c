"""The training loop, and the objects that it moves."""

import ast
import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib import training
from xraylib.data import GreyScale, Phases, Slices
from xraylib.errors import ParameterError, TrainingError
from xraylib.losses import IGNORE
from xraylib.metrics import Scores, evaluate
from xraylib.training import Recipe, TrainingState, train
from xraylib.unet import UNet

RECIPE = Recipe(width=4, depth=2, crop=16, batch=4, flips=True, optimiser="nadam", lr=1e-2,
                steps=24, epochs=0, evaluations=4, eval_slices=3)
PUBLISHED = Recipe(width=4, depth=2, crop=0, batch=1, flips=False, optimiser="rmsprop", lr=1e-4,
                   steps=0, epochs=2, evaluations=2, eval_slices=0)
TRANSFORMED = replace(RECIPE, transforms=training.TRANSFORMS, noise_std_max=2000.0)
UNPADDED = replace(RECIPE, padding="valid")  # with 2 poolings: a margin of 20 px around a crop
TRAIN, VAL = blobs(7, 40, 36), blobs(5, 37, 41, seed=3)


def trained(recipe: Recipe, seed: int = 0, train_set: Slices = TRAIN) -> TrainingState:
    state = TrainingState(recipe, train_set, seed)
    train(state, VAL)
    return state


# -- the loop --------------------------------------------------------------------------------------


def test_the_loop_is_an_ordinary_function_of_25_lines():
    (function,) = ast.parse(inspect.getsource(train)).body
    first = function.body[1]  # after the docstring
    assert function.end_lineno - first.lineno + 1 <= 25
    kinds = (ast.Yield, ast.YieldFrom, ast.FunctionDef, ast.Lambda, ast.comprehension)
    assert not any(isinstance(node, kinds) for part in function.body for node in ast.walk(part))


def test_a_network_learns():
    state, dice = TrainingState(replace(RECIPE, steps=120, width=8, crop=32), TRAIN, 0), []
    train(state, TRAIN, on_evaluation=lambda scores: dice.append(scores.mean))
    assert max(dice) > 0.99 > dice[0] and [row["dice"] for row in state.history] == dice


def test_callbacks_come_after_each_step_and_after_each_history_row():
    state, seen = TrainingState(RECIPE, TRAIN, 0), []
    train(state, VAL, on_step=lambda: seen.append(state.step),
          on_evaluation=lambda scores: seen.append((len(state.history), scores.mean)))
    rows = [(index + 1, row["dice"]) for index, row in enumerate(state.history)]
    expected = [part for index, row in enumerate(rows)
                for part in [*range(6 * index + 1, 6 * index + 7), row]]
    assert seen == expected


def test_a_network_learns_from_transformed_crops_too():
    state = trained(replace(TRANSFORMED, steps=120, width=8, crop=32), train_set=TRAIN[:1])
    assert max(row["dice"] for row in state.history) > 0.9


def test_one_whole_slice_of_one_pixel_at_the_coarsest_level_is_refused():
    recipe, train_set = replace(PUBLISHED, depth=4), blobs(3, 16, 12)
    with pytest.raises(ParameterError, match="batch is 1 and the smallest slice 16, which is one"):
        TrainingState(recipe, train_set, 0)
    train(TrainingState(replace(recipe, batch=2), train_set, 0), train_set)


def test_a_network_without_padding_learns():
    state = trained(replace(UNPADDED, steps=60, width=8, depth=1))
    assert max(row["dice"] for row in state.history) > 0.97


@pytest.mark.parametrize("recipe", [RECIPE, UNPADDED, TRANSFORMED, PUBLISHED])
def test_slices_of_different_sizes_train_and_are_scored(recipe):
    sizes = [(40, 36), (40, 36), (33, 40), (17, 29), (40, 12)]
    slices = blobs(5, 40, 40)
    cut = [[array[:h, :w] for array, (h, w) in zip(arrays, sizes, strict=True)]
           for arrays in (slices.images, slices.labels)]
    slices = replace(slices, images=cut[0], labels=cut[1])
    state = TrainingState(replace(recipe, steps=4, evaluations=1, eval_slices=0), slices, 0)
    found = []
    train(state, slices, on_evaluation=found.append)
    assert found[0].confusion.sum((1, 2)).tolist() == [h * w for h, w in sizes]
    assert np.isfinite(state.history[0]["val_loss"])


def test_a_network_learns_from_scribbles():
    """A hundredth of the pixels is labelled, and none of the others counts in the scores."""
    known = np.random.default_rng(0).random((7, 40, 36)) < 0.01
    labels = [np.where(seen, label, IGNORE).astype(np.uint8)
              for seen, label in zip(known, TRAIN.labels, strict=True)]
    part = replace(TRAIN, labels=labels)
    state, scores = TrainingState(replace(RECIPE, steps=150, width=8), part, 0), []
    train(state, part, on_evaluation=scores.append)
    assert [each.confusion.sum() for each in scores] == [known.sum()] * 4
    assert evaluate(state.model, TRAIN).mean > 0.95


def test_a_phase_that_is_nowhere_has_no_dice_in_the_history():
    two = replace(TRAIN, labels=[label.clip(0, 1) for label in TRAIN.labels])
    state, scores = TrainingState(replace(RECIPE, steps=40), two, 0), []
    train(state, two, on_evaluation=scores.append)
    row = state.history[-1]
    assert np.isnan(row["dice_nickel"]) and scores[-1].absent == [2]
    assert row["dice"] == pytest.approx((row["dice_pore"] + row["dice_YSZ"]) / 2)


@pytest.mark.parametrize("noise_std", [0, 3000])
def test_a_network_knows_the_grey_levels_that_it_was_trained_on(noise_std):
    scale = GreyScale("uint8", 257.0)
    recipe = replace(RECIPE, transforms=("noise",), noise_std_min=noise_std,
                     noise_std_max=noise_std)
    model = TrainingState(recipe, replace(TRAIN, grey_scale=scale), 0).model
    levels, true = model.grey_quantiles, np.quantile(TRAIN.images, np.linspace(0, 1, 101))
    assert model.grey_scale == scale and levels.shape == (101,) and (np.diff(levels) >= 0).all()
    assert levels.mean() == pytest.approx(true.mean(), rel=0.02)
    assert levels.std() == pytest.approx(np.hypot(true.std(), noise_std), rel=0.05)


def test_the_seed_decides_and_the_global_random_state_does_not():
    torch.manual_seed(1)
    first = trained(RECIPE)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second, other = trained(RECIPE), trained(RECIPE, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert [row["dice"] for row in first.history] == [row["dice"] for row in second.history]
    assert [row["dice"] for row in first.history] != [row["dice"] for row in other.history]


@pytest.mark.parametrize("recipe", [RECIPE, PUBLISHED, TRANSFORMED, UNPADDED])
@pytest.mark.parametrize("evaluations", [1, 3])
def test_a_state_continues_as_if_it_had_never_stopped(recipe, evaluations):
    uninterrupted, second = trained(recipe), TrainingState(recipe, TRAIN, 0)

    def copy_and_stop(_):
        if len(first.history) == min(evaluations, recipe.evaluations):
            second.load_state_dict(first.state_dict())
            raise KeyboardInterrupt

    first = TrainingState(recipe, TRAIN, 0)
    with pytest.raises(KeyboardInterrupt):
        train(first, VAL, on_evaluation=copy_and_stop)
    train(second, VAL)
    for one, other in zip(uninterrupted.history, second.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    one, other = uninterrupted.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_that_continues_does_not_share_its_history():
    first, second = trained(RECIPE), TrainingState(RECIPE, TRAIN, 0)
    second.load_state_dict(first.state_dict())
    second.history.clear()
    assert len(first.history) == 4


def test_a_loss_that_is_not_finite_stops_with_an_error():
    with pytest.raises(TrainingError, match="The loss is nan at step .* of 24.* 1e.38 .*lower it"):
        trained(replace(RECIPE, lr=1e38))


def test_history_has_one_row_per_evaluation_with_the_training_time_alone(monkeypatch):
    monkeypatch.setattr(training.time, "perf_counter", iter(range(1000)).__next__)
    state = trained(replace(RECIPE, steps=26, evaluations=13))
    assert [row["step"] for row in state.history] == list(range(2, 27, 2))
    assert [row["images"] for row in state.history] == list(range(8, 105, 8))
    # Each reading of this clock adds a second: one between the start and the end of each part.
    assert [row["seconds"] for row in state.history] == list(range(1, 14))


def test_the_history_shows_clean_and_noisy_slices_separately_if_there_are_both():
    counts = np.array([np.diag([90, 90]), np.diag([50, 50])]) + np.array([[0, 0], [10, 10]])
    def row(noise_std):
        scores = Scores(counts, np.arange(2), np.array(noise_std), loss=0.5)
        return training._validation_row(scores, ("solid", "void"))
    assert list(row([0, 0])) == list(row([9, 9])) == ["val_loss", "dice", "dice_solid", "dice_void"]
    mixed = row([0, 9])
    assert mixed["dice_clean"] > mixed["dice"] > mixed["dice_noisy"] and mixed["val_loss"] == 0.5


# -- the optimiser and its schedule ----------------------------------------------------------------


def test_the_published_schedule_lowers_the_rate_on_a_plateau_and_not_by_steps():
    optimiser, schedule = training.make_optimiser(UNet(2, 1), PUBLISHED, 10)
    for _ in range(7):  # validation Dice stands still: one best, then more than 5 without progress
        schedule.after_step()
        assert optimiser.param_groups[0]["lr"] == 1e-4
        schedule.after_evaluation(0.5)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert optimiser.defaults["momentum"] == 0.999 and optimiser.defaults["weight_decay"] == 1e-8


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("steps", [1, 4, 40])
def test_the_one_cycle_schedule_rises_for_a_quarter_of_the_steps_and_ignores_evaluations(steps):
    optimiser, schedule = training.make_optimiser(UNet(2, 1), RECIPE, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        schedule.after_evaluation(0.5)
        assert optimiser.param_groups[0]["lr"] == rates[-1]
        if len(rates) < steps:
            schedule.after_step()
    assert rates[0] == pytest.approx(1e-2 / 25) and max(rates) <= 1e-2
    assert steps < 40 or (rates.index(max(rates)) == 9 and rates[-1] < 1e-6)


# -- the network -----------------------------------------------------------------------------------


def test_the_network_has_the_phases_and_the_grey_levels_of_its_training_set():
    two = Phases(("solid", "void"), (0, 255), ("#000000", "#ffffff"))
    binary = replace(TRAIN, labels=[label // 2 for label in TRAIN.labels], phases=two)
    state = TrainingState(RECIPE, binary, 0)
    assert state.model.phases == two and state.model.n_classes == 2
    assert state.model.grey.tolist() == pytest.approx(
        [np.mean(TRAIN.images), np.std(TRAIN.images)], rel=1e-6)
    train(state, replace(VAL, labels=[label // 2 for label in VAL.labels], phases=two))
    assert {"dice_solid", "dice_void"} <= set(state.history[-1])


def test_an_epoch_of_the_published_recipe_sees_every_slice_once():
    assert TrainingState(PUBLISHED, TRAIN, 0).steps == 2 * len(TRAIN)
