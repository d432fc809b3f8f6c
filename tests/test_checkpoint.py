"""A training that is killed, and what it leaves on disk."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Harmful, blobs
from test_training import PUBLISHED, RECIPE, TRAIN, TRANSFORMED, UNPADDED, VAL
from tqdm import tqdm

from xraylib import checkpoint, training
from xraylib.checkpoint import load_checkpoint, serialize, train_with_checkpoints
from xraylib.data import concatenate
from xraylib.errors import TrainingError
from xraylib.files import SUFFIX
from xraylib.inference import load_weights
from xraylib.metrics import Scores, evaluate
from xraylib.noise import noisy_copies


class Killed(Exception):
    pass


def run_in(folder, recipe=RECIPE, seed=0):
    return train_with_checkpoints(folder, recipe, TRAIN, VAL, seed, progress=False)


def assert_equal_runs(one, other, places):
    for first, second in zip(one[0], other[0], strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert np.array_equal(one[1].confusion, other[1].confusion) and one[1].loss == other[1].loss
    first, second = (load_weights(place / "model.safetensors").state_dict() for place in places)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("recipe", "killed_at"), [
    (RECIPE, 0), (RECIPE, 1), (RECIPE, 3), (PUBLISHED, 1), (TRANSFORMED, 1), (UNPADDED, 1)])
def test_a_killed_run_resumes_and_ends_bit_for_bit_the_same(
        tmp_path, monkeypatch, recipe, killed_at):
    uninterrupted = run_in(tmp_path / "one", recipe)
    seen = []

    def evaluate_then_die(*arguments):
        if len(seen) == killed_at:
            raise Killed
        seen.append(1)
        return evaluate(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "evaluate", evaluate_then_die)
        run_in(tmp_path / "two", recipe)
    evaluations = []
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate",
                      lambda *arguments: evaluations.append(1) or evaluate(*arguments))
        resumed = run_in(tmp_path / "two", recipe)
    assert len(evaluations) == recipe.evaluations - killed_at
    assert_equal_runs(uninterrupted, resumed, (tmp_path / "one", tmp_path / "two"))
    assert not list(tmp_path.rglob(f"*{SUFFIX}"))


def test_a_run_that_resumes_after_its_last_step_only_reads_its_result(tmp_path):
    first = run_in(tmp_path)
    written = (tmp_path / "last.pt").read_bytes()
    assert_equal_runs(first, run_in(tmp_path), (tmp_path, tmp_path))
    assert (tmp_path / "last.pt").read_bytes() == written


@pytest.mark.parametrize("spoil", [
    lambda content: b"", lambda content: content[:-1],
    lambda content: content[:99] + b"\x00\xff" + content[101:]])
def test_a_damaged_checkpoint_starts_again_with_a_warning_and_ends_the_same(tmp_path, spoil):
    uninterrupted = run_in(tmp_path / "one")
    run_in(tmp_path / "two")
    last = tmp_path / "two" / "last.pt"
    last.write_bytes(spoil(last.read_bytes()))
    with pytest.warns(UserWarning, match=f"{last} is damaged or belongs to another run. Training "
                                         "starts again from step 0."):
        anew = run_in(tmp_path / "two")
    assert_equal_runs(uninterrupted, anew, (tmp_path / "one", tmp_path / "two"))


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_a_checkpoint_without_its_best_weights_starts_again_with_a_warning(tmp_path, spoil):
    run_in(tmp_path)
    spoil(tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match="model.safetensors .*Training starts again"):
        run_in(tmp_path)
    assert load_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize(("forge", "message"), [
    (lambda harmful, _: pickle.dumps(harmful), "is damaged or belongs to another run"),
    (lambda harmful, run: serialize({"model": harmful}, run)[16:],
     "is damaged or belongs to another run"),
    (lambda harmful, run: serialize({"model": harmful}, run),
     "holds something other than numbers and is not loaded"),
])
def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path, monkeypatch, forge, message):
    """A plain pickle, a file of `torch.save`, and a file with the checksum of the library."""
    runs = []
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "serialize",
                      lambda state, run: runs.append(run) or serialize(state, run))
        first = run_in(tmp_path)
    (tmp_path / "last.pt").write_bytes(forge(Harmful(tmp_path / "harm"), runs[0]))
    with pytest.warns(UserWarning, match=f"last.pt {message}. Training starts again"):
        anew = run_in(tmp_path)
    assert not (tmp_path / "harm").exists() and len(anew[0]) == len(first[0])
    pickle.loads(pickle.dumps(Harmful(tmp_path / "harm")))
    assert (tmp_path / "harm").exists()  # the pickle does run code where it is loaded


def test_a_checkpoint_of_another_version_starts_again_with_a_warning(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "serialize", lambda state, run: serialize(
            {name: part for name, part in state.items() if name not in ("best", "batches")}, run))
        first = run_in(tmp_path)
    with pytest.warns(UserWarning, match="last.pt was written by another version of the library: "
                                         "it lacks batches, best. Training starts again"):
        anew = run_in(tmp_path)
    assert [row["dice"] for row in anew[0]] == [row["dice"] for row in first[0]]


@pytest.mark.parametrize("change", [{"seed": 1}, {"recipe": replace(RECIPE, lr=2e-2)}])
def test_a_checkpoint_of_another_run_starts_again_with_a_warning(tmp_path, change):
    run_in(tmp_path)
    with pytest.warns(UserWarning, match="belongs to another run. Training starts again"):
        run_in(tmp_path, **change)


def test_a_folder_without_a_checkpoint_causes_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_checkpoint(tmp_path, "run") is None


def test_the_best_weights_are_kept(tmp_path):
    recipe = replace(RECIPE, steps=60, evaluations=12, lr=3e-2, eval_slices=0)
    history, best = run_in(tmp_path, recipe)
    scores = evaluate(load_weights(tmp_path / "model.safetensors"), VAL)
    assert scores.mean == best.mean == max(row["dice"] for row in history)
    assert np.array_equal(scores.confusion, best.confusion)


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(tmp_path):
    with pytest.raises(TrainingError, match="lower it"):
        run_in(tmp_path, replace(RECIPE, lr=1e38))
    assert not (tmp_path / "last.pt").exists() and not list(tmp_path.rglob(f"*{SUFFIX}"))


def test_snapshots_are_at_most_twelve(tmp_path):
    recipe = replace(RECIPE, steps=26, evaluations=13)
    train_with_checkpoints(tmp_path, recipe, TRAIN, blobs(2, 16, 16), 0, progress=False)
    snapshots = sorted(path.stem for path in (tmp_path / "epochs").iterdir())
    assert len(snapshots) == 12 and snapshots[-1] == "000026"


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_is_shown_unless_it_is_turned_off(
        tmp_path, monkeypatch, capsys, progress):
    """tqdm sets `disable` itself if $TQDM_DISABLE is there and the caller does not set it."""
    seen = []
    monkeypatch.setattr(checkpoint, "tqdm", lambda **how: seen.append(how) or tqdm(**how))
    train_with_checkpoints(tmp_path, replace(RECIPE, steps=4), TRAIN, VAL, 0, progress)
    assert ("training, seed 0" in capsys.readouterr().err) == progress
    assert ("disable" in seen[0]) == (not progress)


def test_slices_with_more_noise_than_training_do_not_choose_the_best_weights(tmp_path, monkeypatch):
    """Clean Dice rises and noisy Dice falls faster.

    The last weights are then the best ones of a network trained on clean slices. If no slice is
    clean, the least noisy ones choose the weights.
    """
    clean = VAL[:2]
    less, noisy = noisy_copies(clean, 3000, 0), noisy_copies(clean, 8000, 0)
    steps = []

    def fake_evaluation(_model, slices, *_):
        step = len(steps)
        steps.append(step)
        dice = np.where(slices.noise_std > 5000, 90 - 20 * step, 50 + 10 * step)
        counts = np.array([np.diag([d] * 3) + np.roll(np.diag([100 - d] * 3), 1, 1) for d in dice])
        return Scores(counts, slices.numbers, slices.noise_std, 0.0)

    monkeypatch.setattr(training, "evaluate", fake_evaluation)
    recipe = replace(RECIPE, eval_slices=0)
    noisy_crops = replace(recipe, transforms=("noise",), noise_std_max=8000.0)
    both = concatenate(TRAIN, noisy_copies(TRAIN[:1], 8000, 0))
    cases = (
        (recipe, TRAIN, concatenate(clean, noisy), 3), (recipe, both, concatenate(clean, noisy), 0),
        (noisy_crops, TRAIN, concatenate(clean, noisy), 0),
        (recipe, TRAIN, concatenate(less, noisy), 3), (recipe, TRAIN, noisy, 0))
    for index, (how, train_set, val_set, best_step) in enumerate(cases):
        steps.clear()
        _, best = train_with_checkpoints(tmp_path / str(index), how, train_set, val_set, 0, False)
        assert best.dice[-1, 0] == pytest.approx(0.9 - 0.2 * best_step), index
