"""What keeps a training safe: it resumes where a killed one left off; best weights and snapshots are on disk."""

import hashlib
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError

import torch
from tqdm import tqdm

from ..files import replace
from ..predict.network import WeightsError, load_weights, save_weights
from ..predict.scores import Scores
from ..slices.labelled import Slices, evenly
from ..train import Learner, Recipe, fit

MAX_SNAPSHOTS = 12   # in epochs/, for the slider over training


def train_in(folder: Path, recipe: Recipe, train: Slices, val: Slices, seed: int,
             show: bool = True) -> tuple[list[dict[str, float]], Scores]:
    """Train a U-Net, or resume where a killed call left off: anew, and it says so, where what that left is damaged.

    Returns the history, one row an evaluation, and the scores of the best one, on the validation slices it looked at.
    Writes into ``folder``, each file whole or not at all: ``last.pt`` (all that resuming needs) at every evaluation,
    ``model.safetensors`` (the weights of the best validation Dice, over images no noisier than the training crops) and
    ``epochs/`` (at most 12 snapshots).
    ``show``: a progress bar. Raises `TrainingError` when the loss is no longer finite; the folder keeps the last state.
    """
    learner, watched = Learner(recipe, train, seed), val.some(recipe.eval_slices)
    snapshots, best = evenly(recipe.evaluations, MAX_SNAPSHOTS), None
    whose = repr((recipe, seed, train.numbers.tolist()))
    state = left_by(folder, whose)
    if state:
        best = Scores(state.pop("best").numpy(), watched.numbers, watched.noise_std)
        learner.load_state_dict(state)
    (folder / "epochs").mkdir(parents=True, exist_ok=True)
    most_noise = max(train.noise_std.max(), recipe.noise_max, watched.noise_std.min())
    judges = watched.noise_std <= most_noise                # noise that it is not trained on chooses no weights
    quiet = {} if show else {"disable": True}               # disable=False would overrule TQDM_DISABLE
    with tqdm(total=learner.steps, initial=learner.step, desc=f"training, seed {seed}", unit="step", leave=False,
              mininterval=1, **quiet) as bar:
        learner.on_step = bar.update
        for scores in fit(learner, watched):
            history = learner.history
            if best is None or scores.where(judges).mean >= best.where(judges).mean:
                best = scores
                save_weights(learner.model, folder / "model.safetensors")
            if len(history) in snapshots:
                save_weights(learner.model, folder / "epochs" / f"{learner.step:06d}.safetensors", half=True)
            state = learner.state_dict() | {"best": torch.from_numpy(best.confusion)}
            content = packed(state, whose)
            replace(folder / "last.pt", lambda part, content=content: part.write_bytes(content))
            bar.set_postfix(loss=f"{history[-1]['train_loss']:.3f}", dice=f"{scores.mean:.4f}")
    return learner.history, best


def seal(content: bytes, whose: str) -> bytes:
    """16 bytes that change with any bit of a checkpoint, and with the run that it is of: torch looks at neither."""
    return hashlib.blake2b(whose.encode() + content, digest_size=16).digest()


def packed(state: dict, whose: str) -> bytes:
    """What is written of the state of a training: its seal, and what `torch.save` makes of it."""
    buffer = BytesIO()
    torch.save(state, buffer)
    return seal(buffer.getvalue(), whose) + buffer.getvalue()


def left_by(folder: Path, whose: str) -> dict | None:
    """The state that a killed training of this run left; None, and a sentence, where it cannot be gone on from."""
    path = folder / "last.pt"
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        if content[:16] != seal(content[16:], whose):
            raise ValueError(f"{path} is damaged, or of another run")
        load_weights(folder / "model.safetensors")
        return torch.load(BytesIO(content[16:]), weights_only=True, map_location="cpu")
    except UnpicklingError:
        reason = f"{path} holds something else than numbers, and is not read"
    except (ValueError, WeightsError) as error:
        reason = error
    tqdm.write(f"{reason}: the training starts anew.")
    return None
