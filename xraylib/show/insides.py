"""What goes on inside a network: its first features, how sure it is, how far it looks, what training costs."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from ..noise import add_noise, noisy_copies
from ..predict.network import autocast, load_weights, logits_of, recollected, with_margin
from ..predict.scores import evaluate
from ..slices.labelled import PHASES, Slices
from ..slices.sets import window
from ..train import Learner, Recipe, fit
from ..unet import UNet
from .plots import INK, LINES, OTHER_INK, PALE_INK


@torch.no_grad()
def first_features(model: UNet, image: np.ndarray) -> np.ndarray:
    """The channels of the first convolution as its batch norm hands them on, (C, H, W).

    In units of the deviation that it collected in training: there, each channel has mean 0 and deviation 1. ``image``:
    raw grey levels, uint16 (H, W).
    """
    caught: list[torch.Tensor] = []
    conv, norm = model.stem.layers[:2]
    hook = conv.register_forward_hook(lambda _layer, _x, y: caught.append(y.float()))
    model(with_margin(model, torch.from_numpy(image).float()[None, None].to(conv.weight.device)))
    hook.remove()
    features = caught[0][0, :, :image.shape[0], :image.shape[1]]       # without what was added below and right
    deviation = (norm.running_var + norm.eps).sqrt()
    return ((features - norm.running_mean[:, None, None]) / deviation[:, None, None]).cpu().numpy()


def feature_histograms(features: Sequence[np.ndarray], labels: np.ndarray, names: Sequence[str],
                       axes: Sequence[Axes]) -> None:
    """One channel of `first_features`, (H, W), by true phase; an axis each for e.g. the clean and the noisy slice."""
    bins = np.linspace(*np.percentile(np.stack(features), [0.1, 99.9]), 120)
    for feature, name, ax in zip(features, names, axes, strict=True):
        for phase, title in enumerate(PHASES):
            counts = np.histogram(feature[labels == phase], bins)[0]
            ax.stairs(counts / labels.size, bins, fill=True, alpha=0.55, color=LINES[phase], label=title)
        ax.set(xlabel="value, in deviations of the training set", yticks=[], title=name)
    axes[0].set_ylabel("share of pixels")
    axes[0].legend(frameon=False)


def probabilities(model: UNet, slices: Slices, noise_stds: Sequence[float], phase: int, seed: int = 0) -> np.ndarray:
    """What the network makes of the pixels of one phase as noise grows: the mean of its softmax over them.

    Returns (noise levels, 3), 0..1: the probabilities of the three phases.
    """
    rows = []
    for std in noise_stds:
        images = [add_noise(image, std, seed, int(number))
                  for image, number in zip(slices.images, slices.numbers, strict=True)]
        inside = torch.from_numpy(np.stack(slices.labels) == phase)
        p = torch.cat([logits.float().softmax(1).cpu() for _, logits in logits_of(model, images)])   # N x 3 x H x W
        rows.append(p.transpose(0, 1)[:, inside].mean(1).numpy())
    return np.stack(rows)


def probability_curves(noise_stds: Sequence[float], rows: np.ndarray, ax: Axes) -> None:
    """`probabilities` against the noise."""
    for phase, name in enumerate(PHASES):
        ax.plot(noise_stds, 100 * rows[:, phase], "o-", ms=4, color=LINES[phase], label=name)
    ax.set(xlabel="added noise, grey levels", ylabel="mean probability, %", ylim=(-2, 102))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def statistics_over_training(snapshots: Mapping[int, Path], clean: Slices, noisy: Slices) -> list[dict[str, float]]:
    """Dice of noisy slices by snapshots of one training, with three kinds of batch-norm statistics, a row a snapshot.

    "as_trained": the running averages of the training itself; "clean": the same weights, statistics of the ``clean``
    slices; "noisy": statistics of noisy copies of other slices. No label is used for either.
    """
    strangers = noisy_copies(clean.some(5), float(noisy.noise_std.max()), 1)
    rows = []
    for step, path in snapshots.items():
        model = load_weights(path)
        kinds = {"as_trained": model, "clean": recollected(model, clean.images),
                 "noisy": recollected(model, strangers.images)}
        rows.append({"step": step} | {name: evaluate(kind, noisy).mean for name, kind in kinds.items()})
    return rows


def statistics_curves(rows: Sequence[Mapping[str, float]], ax: Axes) -> None:
    """`statistics_over_training` against the step."""
    steps = [row["step"] for row in rows]
    for name, label, style, colour in (("as_trained", "running averages, as trained", "v-", OTHER_INK),
                                       ("clean", "statistics of clean slices", "o-", INK),
                                       ("noisy", "statistics of noisy slices", "s-", PALE_INK)):
        ax.plot(steps, [100 * row[name] for row in rows], style, ms=4, color=colour, label=label)
    ax.set(xlabel="step", ylabel="Dice of noisy slices, %", ylim=(0, 101))
    ax.grid(alpha=0.3)


def influence(model: UNet, slices: Slices, reach: int, seed: int = 0) -> np.ndarray:
    """How much each pixel around counts for what becomes of the middle one, shares that add up to 1: (side, side).

    The slope of the middle pixel's chosen logit along every grey level, its size, averaged over 200 places of the
    slices: the effective receptive field (Luo et al. 2016, arXiv:1701.04128). ``reach``: px on each side, at least as
    far as the network can look.
    """
    rng, side, model = np.random.default_rng(seed), 2 * reach + 1, deepcopy(model).eval()
    places = [(rng.integers(len(slices)), *(rng.integers(length - side + 1) for length in slices.shape))
              for _ in range(200)]
    windows = np.stack([slices.images[index][top:top + side, left:left + side] for index, top, left in places])
    slopes = np.zeros((side, side))
    for some in np.split(windows, 10):                             # 20 places at a time: the graph takes room
        x = torch.from_numpy(some).float().unsqueeze(1).to(model.grey.device).requires_grad_()
        model(with_margin(model, x))[:, :, reach, reach].amax(1).sum().backward()
        slopes += x.grad.abs().sum((0, 1)).cpu().numpy()
    return slopes / slopes.sum()


def within(shares: np.ndarray) -> np.ndarray:
    """The share of `influence` that comes from squares of 1, 3, 5, ... px around the middle, (reach + 1,)."""
    reach = len(shares) // 2
    squares = [slice(reach - far, reach + far + 1) for far in range(reach + 1)]
    return np.array([shares[square, square].sum() for square in squares])


def seconds_a_step(recipes: Mapping[str, Recipe], train: Slices, rounds: int = 3) -> dict[str, float]:
    """How long a step of training takes on this machine, by name: the fastest of some rounds of five steps, in turn."""
    fastest, corner = dict.fromkeys(recipes, float("inf")), window(train[:1], 1 / 64, 0)    # its score is no matter
    for name, recipe in [*recipes.items()] * rounds:
        learner = Learner(replace(recipe, steps=5, evaluations=1), train, 0)
        next(fit(learner, corner))
        fastest[name] = min(fastest[name], learner.seconds / 5)
    return fastest


def kept_for_backward(model: UNet, images: torch.Tensor) -> int:
    """Bytes of all that a forward pass keeps for the backward pass: what the memory of training goes into.

    ``images``: as `UNet.forward`. Counted as PyTorch puts it aside, once for each block of memory.
    """
    blocks: dict[int, int] = {}

    def put_aside(tensor: torch.Tensor) -> torch.Tensor:
        blocks[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()                     # itself would hold the graph that holds it, for ever

    with torch.autograd.graph.saved_tensors_hooks(put_aside, lambda tensor: tensor), autocast(images.device):
        logits = model(images)
    assert logits.requires_grad
    return sum(blocks.values())


def spread_bars(clean: np.ndarray, noisy: np.ndarray, ax: Axes) -> None:
    """Deviation of every channel of `first_features`, (C,): of a clean slice, and of its noisy copy."""
    place = np.arange(len(clean))
    ax.bar(place - 0.2, clean, 0.4, color=INK, label="clean slice")
    ax.bar(place + 0.2, noisy, 0.4, color=OTHER_INK, label="its noisy copy")
    ax.axhline(1, color="0.5", lw=1, ls="--")
    ax.set(xlabel="channel of the first convolution", ylabel="deviation (training: 1)", xticks=place)
    ax.legend(frameon=False)
