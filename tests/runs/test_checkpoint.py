"""A training that is killed, and what it leaves on disk."""

import pickle

import numpy as np
import pytest
import torch
from conftest import Harmful, blobs
from test_train import PUBLISHED, RECIPE, TRAIN, TRANSFORMED, UNPADDED, VAL

from xraylib import train
from xraylib.noise import noisy_copies
from xraylib.predict.network import load_weights
from xraylib.predict.scores import Scores, evaluate
from xraylib.runs import checkpoint
from xraylib.runs.checkpoint import packed, train_in
from xraylib.slices.labelled import join
from xraylib.train import Recipe, TrainingError


class Killed(Exception):
    pass


def weights(folder):
    return load_weights(folder / "model.safetensors").state_dict()


@pytest.mark.parametrize(("recipe", "killed_at"), [
    (RECIPE, 0), (RECIPE, 1), (RECIPE, 3), (PUBLISHED, 1), (TRANSFORMED, 1), (UNPADDED, 1)])
def test_a_killed_run_resumes_and_ends_bit_for_bit_the_same(tmp_path, monkeypatch, recipe, killed_at):
    whole = train_in(tmp_path / "whole", recipe, TRAIN, VAL, 0)
    seen = []

    def evaluate_then_die(*arguments):
        if len(seen) == killed_at:
            raise Killed
        seen.append(1)
        return evaluate(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train, "evaluate", evaluate_then_die)
        train_in(tmp_path / "killed", recipe, TRAIN, VAL, 0)
    resumed = train_in(tmp_path / "killed", recipe, TRAIN, VAL, 0)
    for first, second in zip(whole[0], resumed[0], strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert np.array_equal(whole[1].confusion, resumed[1].confusion)
    assert not list((tmp_path / "killed").rglob("*.part*"))
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("spoil", [
    lambda content: b"", lambda content: content[:-1], lambda content: content[:99] + b"\x00\xff" + content[101:]])
def test_a_damaged_checkpoint_is_trained_anew_and_ends_the_same(tmp_path, monkeypatch, capsys, spoil):
    whole = train_in(tmp_path / "whole", RECIPE, TRAIN, VAL, 0)
    train_in(tmp_path / "killed", RECIPE, TRAIN, VAL, 0)
    last = tmp_path / "killed" / "last.pt"
    last.write_bytes(spoil(last.read_bytes()))
    anew = train_in(tmp_path / "killed", RECIPE, TRAIN, VAL, 0)
    assert f"{last} is damaged, or of another run: the training starts anew." in capsys.readouterr().out
    assert [row["step"] for row in anew[0]] == [row["step"] for row in whole[0]]
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("forge", "sentence"), [
    (lambda harmful, _: pickle.dumps(harmful), "is damaged, or of another run"),
    (lambda harmful, _: packed({"model": harmful}, "whose")[16:], "is damaged, or of another run"),
    (lambda harmful, whose: packed({"model": harmful}, whose), "holds something else than numbers, and is not read"),
])
def test_a_checkpoint_that_would_run_code_is_not_read(tmp_path, monkeypatch, capsys, forge, sentence):
    """A plain pickle, a file of `torch.save`, and one that is sealed as the library seals its own."""
    sealed_for = []
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "packed", lambda state, whose: sealed_for.append(whose) or packed(state, whose))
        whole = train_in(tmp_path, RECIPE, TRAIN, VAL, 0)
    (tmp_path / "last.pt").write_bytes(forge(Harmful(tmp_path / "harm"), sealed_for[0]))
    anew = train_in(tmp_path, RECIPE, TRAIN, VAL, 0)
    assert f"{tmp_path / 'last.pt'} {sentence}: the training starts anew." in capsys.readouterr().out
    assert not (tmp_path / "harm").exists() and len(anew[0]) == len(whole[0])
    pickle.loads(pickle.dumps(Harmful(tmp_path / "harm")))
    assert (tmp_path / "harm").exists()                     # it would have


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path, capsys):
    train_in(tmp_path, RECIPE, TRAIN, VAL, 0)
    train_in(tmp_path, RECIPE, TRAIN, VAL, 1)
    assert "of another run: the training starts anew." in capsys.readouterr().out


def test_the_best_weights_are_kept(tmp_path):
    recipe = Recipe(**vars(RECIPE) | {"steps": 60, "evaluations": 12, "lr": 3e-2, "eval_slices": 0})
    history, best = train_in(tmp_path, recipe, TRAIN, VAL, 0)
    scores = evaluate(load_weights(tmp_path / "model.safetensors"), VAL)
    assert scores.mean == best.mean == max(row["dice"] for row in history)
    assert np.array_equal(scores.confusion, best.confusion)


def test_a_lost_loss_leaves_the_last_good_state(tmp_path):
    with pytest.raises(TrainingError, match="lower it"):
        train_in(tmp_path, Recipe(**vars(RECIPE) | {"lr": 1e38}), TRAIN, VAL, 0)
    assert not (tmp_path / "last.pt").exists() and not list(tmp_path.rglob("*.part*"))


def test_snapshots_are_at_most_twelve(tmp_path):
    train_in(tmp_path, Recipe(**vars(RECIPE) | {"steps": 26, "evaluations": 13}), TRAIN, blobs(2, 16, 16), 0)
    snapshots = sorted(path.stem for path in (tmp_path / "epochs").iterdir())
    assert len(snapshots) == 12 and snapshots[-1] == "000026"


def test_noise_that_it_is_not_trained_on_chooses_no_weights(tmp_path, monkeypatch):
    """Clean Dice rises, noisy Dice falls faster: the last weights are the best of a network trained on clean slices.

    Where no slice is clean, the least noisy ones choose: there is always one that does.
    """
    clean, less, noisy = VAL[:2], noisy_copies(VAL[:2], 3000, 0), noisy_copies(VAL[:2], 8000, 0)

    def evaluated(_model, slices, *_):
        step = len(told)
        told.append(step)
        dice = np.where(slices.noise_std > 5000, 90 - 20 * step, 50 + 10 * step)
        counts = np.array([np.diag([d, d, d]) + np.roll(np.diag([100 - d] * 3), 1, 1) for d in dice])
        return Scores(counts, slices.numbers, slices.noise_std, 0.0)

    monkeypatch.setattr(train, "evaluate", evaluated)
    recipe, both = Recipe(**vars(RECIPE) | {"eval_slices": 0}), join(TRAIN, noisy_copies(TRAIN[:1], 8000, 0))
    noisy_crops = Recipe(**vars(recipe) | {"transforms": ("noise",), "noise_max": 8000.0})
    cases = ((recipe, TRAIN, join(clean, noisy), 3), (recipe, both, join(clean, noisy), 0),
             (noisy_crops, TRAIN, join(clean, noisy), 0), (recipe, TRAIN, join(less, noisy), 3),
             (recipe, TRAIN, noisy, 0))
    for index, (how, trained_on, watched, best_step) in enumerate(cases):
        told = []
        _, best = train_in(tmp_path / str(index), how, trained_on, watched, 0)
        assert best.dice[-1, 0] == pytest.approx(0.9 - 0.2 * best_step), index
