"""Training with checkpoints: a killed run resumes from its last evaluation."""

import hashlib
import warnings
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from tqdm import tqdm

from .data import Slices, evenly_spaced
from .errors import WeightsError
from .files import atomic_file
from .inference import load_weights, save_weights
from .metrics import Scores
from .training import Recipe, TrainingState, train

STATE = {*TrainingState.STATEFUL, "step", "seconds", "history", "best", "best_loss"}
MAX_SNAPSHOTS = 12  # of the weights, for the slider that replays training


def train_with_checkpoints(folder: Path, recipe: Recipe, train_set: Slices, val_set: Slices,
                           seed: int, progress: bool) -> tuple[list[dict[str, float]], Scores]:
    """Train a network, or resume a killed run from its checkpoint.

    Each evaluation writes the checkpoint `last.pt`, and `model.safetensors` if its Dice is the best
    so far. At most 12 evaluations write a snapshot of the weights into `epochs/`.
    Args:
        folder, recipe, train_set, seed: where to write, and what `TrainingState` needs.
        val_set: slices noisier than every training crop are not used to choose the best weights.
        progress: whether to show a progress bar.
    Returns: The history, one row per evaluation, and the scores of the best evaluation.
    Raises: TrainingError if the loss is no longer finite. The last checkpoint stays in the folder.
    """
    watched = val_set.subsample(recipe.eval_slices)
    most_noise = max(train_set.noise_std.max(), recipe.noise_std_max, watched.noise_std.min())
    judges = watched.noise_std <= most_noise
    state = TrainingState(recipe, train_set, seed)
    best: Scores | None = None
    run = repr((recipe, seed, train_set.numbers.tolist()))
    (folder / "epochs").mkdir(parents=True, exist_ok=True)
    saved = load_checkpoint(folder, run)
    if saved:
        state.load_state_dict(saved)
        best = Scores(saved["best"].numpy(), watched.numbers, watched.noise_std, saved["best_loss"])

    def save(scores: Scores) -> None:
        nonlocal best
        if best is None or scores.where(judges).mean >= best.where(judges).mean:
            best = scores
            save_weights(state.model, folder / "model.safetensors")
        if len(state.history) in evenly_spaced(recipe.evaluations, MAX_SNAPSHOTS):
            save_weights(state.model, folder / f"epochs/{state.step:06d}.safetensors", half=True)
        kept = {"best": torch.from_numpy(best.confusion), "best_loss": best.loss}
        with atomic_file(folder / "last.pt") as file:
            file.write(serialize(state.state_dict() | kept, run))
        bar.set_postfix(loss=f"{state.history[-1]['train_loss']:.3f}", dice=f"{scores.mean:.4f}")

    hidden = {} if progress else {"disable": True}  # disable=False would overrule TQDM_DISABLE
    with tqdm(total=state.steps, initial=state.step, desc=f"training, seed {seed}", unit="step",
              leave=False, mininterval=1, **hidden) as bar:
        train(state, watched, on_step=bar.update, on_evaluation=save)
    assert best is not None
    return state.history, best


def serialize(state: dict[str, Any], run: str) -> bytes:
    """Return the bytes of a checkpoint: a checksum, then the state as `torch.save` writes it."""
    buffer = BytesIO()
    torch.save(state, buffer)
    return _checksum(buffer.getvalue(), run) + buffer.getvalue()


def _checksum(content: bytes, run: str) -> bytes:
    """Return 16 bytes that change with any bit of a checkpoint and with the run it belongs to."""
    return hashlib.blake2b(run.encode() + content, digest_size=16).digest()


def load_checkpoint(folder: Path, run: str) -> dict[str, Any] | None:
    """Read the state that `serialize` wrote. Return None and warn if the run cannot be resumed."""
    path = folder / "last.pt"
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        if content[:16] != _checksum(content[16:], run):
            raise ValueError(f"{path} is damaged or belongs to another run")
        load_weights(folder / "model.safetensors")  # resuming needs the best weights, too
        state = torch.load(BytesIO(content[16:]), weights_only=True, map_location="cpu")
        if missing := sorted(STATE - state.keys()):
            raise ValueError(f"{path} was written by another version of the library: it lacks "
                             f"{', '.join(missing)}")
        return state
    except UnpicklingError:
        reason = f"{path} holds something other than numbers and is not loaded"
    except (ValueError, WeightsError) as error:
        reason = str(error).rstrip(".")
    warnings.warn(f"{reason}. Training starts again from step 0.", stacklevel=2)
    return None
