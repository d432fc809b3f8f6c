"""A segmentation without labels: what can be told of it all the same, slice by slice, and what may mend it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_opening
from scipy.ndimage import label as connected
from scipy.stats import rankdata, spearmanr, wasserstein_distance

from ..predict.network import logits_of, predict, recollected
from ..predict.scores import score
from ..slices.labelled import PHASES, Slices, evenly
from ..unet import UNet

# The indicators, each one number a slice, and on which side of the usual it rings: 1 above, -1 below.
INDICATORS = {"consistency": -1, "confidence": -1, "entropy": 1, "disagreement": 1, "jump": 1, "rarest": -1, "shift": 1}
LIMIT = 4                 # deviations from the usual beyond which an indicator rings
QUANTILES = np.linspace(0, 1, 1001)
UNSURE = 0.6              # a pixel of less confidence is suspected
SMALLEST = 64             # px; smaller regions are not outlined


def grey_quantiles(images: Sequence[np.ndarray]) -> np.ndarray:
    """The grey levels of some slices as 1,001 evenly spaced quantiles, float64: N of (H, W) -> (1001,)."""
    return np.quantile(np.concatenate([image[::2, ::2].ravel() for image in images]), QUANTILES)


@dataclass(frozen=True)
class Look:
    """What networks of several seeds make of N slices without labels.

    ``images``: N arrays uint16 (H, W); ``numbers``: (N,), whole; slices whose numbers differ by 1 are neighbours.
    ``labels``: class indices uint8 (N, H, W) by the first network; ``confidence``, ``entropy``: float16 (N, H, W), of
    its probabilities, entropy in units of log 3; ``disagree``: bool (N, H, W), where not all networks say the same.
    ``shift``: (N,), see `indicators`.
    """

    images: Sequence[np.ndarray]
    numbers: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    entropy: np.ndarray
    disagree: np.ndarray
    shift: np.ndarray

    def beside(self, index: int) -> list[int]:
        """The indices of the slices next to this one, none, one or two."""
        return np.flatnonzero(np.abs(self.numbers - self.numbers[index]) == 1).tolist()

    @cached_property
    def fractions(self) -> np.ndarray:
        """The share of each phase in each slice, (N, 3)."""
        return np.stack([(self.labels == phase).mean((1, 2)) for phase in range(len(PHASES))], 1)

    @cached_property
    def indicators(self) -> dict[str, np.ndarray]:
        """One number a slice, (N,), nan where it has no neighbour.

        "consistency": share of the pixels that keep their phase in the next slice, the mean over both neighbours;
        "jump": the largest change of a phase's share to a neighbour; "rarest": the share of the rarest phase;
        "confidence", "entropy": the mean over pixels; "disagreement": share of the pixels of which not all networks say
        the same; "shift": the distance of the grey levels from the training set's, see `grey_shift`.
        """
        beside = [self.beside(index) for index in range(len(self.labels))]
        kept = [[np.mean(self.labels[i] == self.labels[j]) for j in near] for i, near in enumerate(beside)]
        jump = [[np.abs(self.fractions[i] - self.fractions[j]).max() for j in near] for i, near in enumerate(beside)]
        mean, most = (lambda each: np.mean(each) if each else np.nan), (lambda each: max(each, default=np.nan))
        over = {"confidence": self.confidence, "entropy": self.entropy, "disagreement": self.disagree}
        found = {name: each.mean((1, 2), dtype=np.float64) for name, each in over.items()}
        found |= {"consistency": np.array([*map(mean, kept)]), "jump": np.array([*map(most, jump)]),
                  "rarest": self.fractions.min(1), "shift": self.shift}
        return {name: found[name] for name in INDICATORS}

    def suspected(self, index: int) -> np.ndarray:
        """Regions of a slice where the segmentation may be wrong, bool (H, W).

        There networks disagree, the first one is unsure (below `UNSURE`), or both neighbours agree on another phase.
        What is thinner than 3 px, as the doubt along every interface is, and regions below `SMALLEST` are left out.
        """
        doubt = self.disagree[index] | (self.confidence[index] < UNSURE)
        near = self.beside(index)
        if len(near) == 2:
            one, other = self.labels[near]
            doubt |= (one == other) & (one != self.labels[index])
        regions, n = connected(binary_opening(doubt, np.ones((3, 3))))
        large = np.bincount(regions.ravel(), minlength=n + 1) >= SMALLEST
        return large[regions] & (regions > 0)


def grey_shift(images: Sequence[np.ndarray], usual: np.ndarray) -> np.ndarray:
    """How far the grey levels of each slice are from the training set's, (N,), in deviations of the latter.

    The 1-D Wasserstein distance: the mean distance by which grey levels would have to be moved, the darkest to the
    darkest and so on. ``usual``: of the training set, as `grey_quantiles` gives them.
    """
    return np.array([wasserstein_distance(grey_quantiles([image]), usual) for image in images]) / usual.std()


def look(models: Sequence[UNet], images: Sequence[np.ndarray], numbers: np.ndarray, usual: np.ndarray) -> Look:
    """Segment slices by each network. ``images``: N of uint16 (H, W); ``usual``: as `grey_shift` takes it.

    The first network's segmentation is the one that is judged; of the others only where they differ from it is kept.
    """
    shape = (len(images), *images[0].shape)
    labels, confidence, entropy = (np.empty(shape, dtype) for dtype in (np.uint8, np.float16, np.float16))
    for part, logits in logits_of(models[0], images):
        probable = logits.float().softmax(1)
        most = probable.max(1)
        labels[part], confidence[part] = most.indices.cpu(), most.values.cpu()
        entropy[part] = -probable.xlogy(probable).sum(1).cpu() / np.log(len(PHASES))
    disagree = np.zeros(shape, bool)
    for model in models[1:]:
        disagree |= predict(model, images) != labels
    return Look(images, np.asarray(numbers), labels, confidence, entropy, disagree, grey_shift(images, usual))


# -- what is usual ----------------------------------------------------------------------------------------------------


def usual_look(models: Sequence[UNet], slices: Slices, held_out: np.ndarray, n: int = 8) -> Look:
    """What is usual: a look at n validation slices of the training volume, evenly spread, and at those beside them.

    ``slices``: the training volume; ``held_out``: the numbers of its validation slices, whose labels are not asked for.
    """
    held_out = np.unique(held_out)
    chosen = held_out[np.array(evenly(len(held_out), n)) - 1]
    part = slices[np.isin(slices.numbers, chosen[:, None] + [-1, 0, 1])]
    return look(models, part.images, part.numbers, grey_quantiles(slices.some(40).images))


def distance_from(usual: Look, here: Look) -> dict[str, np.ndarray]:
    """How far each indicator of each slice is on the bad side of the usual ones, in their deviations, (N,)."""
    return {name: side * (here.indicators[name] - np.nanmean(of)) / max(float(np.nanstd(of)), 1e-6)
            for (name, side), of in zip(INDICATORS.items(), usual.indicators.values(), strict=True)}


def rings(usual: Look, here: Look) -> dict[str, np.ndarray]:
    """Whether each indicator rings in each slice, bool (N,): more than `LIMIT` deviations on the bad side."""
    return {name: away > LIMIT for name, away in distance_from(usual, here).items()}


def ringing(usual: Look, here: Look) -> list[str]:
    """The indicators that ring for a volume: those that ring in at least half of its slices."""
    return [name for name, each in rings(usual, here).items() if each.mean() >= 0.5]


def worst_first(here: Look) -> np.ndarray:
    """The indices of the slices, the most suspect first: by the mean of their ranks in all indicators."""
    ranks = [rankdata(side * np.nan_to_num(here.indicators[name], nan=-side * np.inf))
             for name, side in INDICATORS.items()]
    return np.argsort(-np.mean(ranks, 0), kind="stable")


def rank_correlation(here: Look, dice: np.ndarray) -> dict[str, float]:
    """Spearman's rank correlation of each indicator with the true Dice over slices, (N,): 1 is a perfect warning.

    The sign is that of the bad side: an indicator that rises where Dice falls has a positive one. nan for an indicator
    that is the same in all slices.
    """
    found = {}
    for name, side in INDICATORS.items():
        known = np.isfinite(here.indicators[name])
        values = here.indicators[name][known]
        found[name] = -side * float(spearmanr(values, dice[known]).statistic) if np.ptp(values) > 0 else np.nan
    return found


def verdict(volume: str, usual: Look, here: Look, truth: Slices | None) -> dict:
    """A row of the table of volumes: what the indicators say of one, and what is true.

    "volume": its name; "rings": as `ringing` has it; "away": mean distance of each indicator from the usual, see
    `distance_from`; "dice": the true mean Dice (0..1), nan without labels; "right", "sure": the share of right pixels,
    nan without labels, and the mean confidence.
    """
    scores = score(here.labels, truth) if truth else None
    right = np.trace(scores.confusion.sum(0)) / scores.confusion.sum() if scores else np.nan
    away = {name: float(np.nanmean(each)) for name, each in distance_from(usual, here).items()}
    return {"volume": volume, "rings": ringing(usual, here), "away": away, "dice": scores.mean if scores else np.nan,
            "right": float(right), "sure": float(here.indicators["confidence"].mean())}


# -- remedies ---------------------------------------------------------------------------------------------------------


def rescaled(images: Sequence[np.ndarray], usual: np.ndarray) -> list[np.ndarray]:
    """Slices brought to the training set's mean and deviation, all by the same gain and offset: N of uint16 (H, W)."""
    here = grey_quantiles(images)
    gain = usual.std() / max(here.std(), 1e-9)
    return [to_grey((image - here.mean()) * gain + usual.mean()) for image in images]


def matched(images: Sequence[np.ndarray], usual: np.ndarray) -> list[np.ndarray]:
    """Slices whose histograms are made the training set's, each by a rising curve of its own: N of uint16 (H, W).

    Where phase fractions differ, that is wrong: pixels are moved until as many are bright.
    """
    return [to_grey(np.interp(image, grey_quantiles([image]), usual)) for image in images]


def to_grey(levels: np.ndarray) -> np.ndarray:
    """Grey levels as uint16, rounded and cut off at 0 and 65535."""
    return np.clip(np.rint(levels), 0, 65535).astype(np.uint16)


def remedies(models: Sequence[UNet], images: Sequence[np.ndarray],
             usual: np.ndarray) -> dict[str, tuple[list[UNet], list[np.ndarray]]]:
    """What may bring a volume and networks together without a label: by name, the networks and the slices to show them.

    "as it is"; "mean and deviation", as `rescaled`; "histogram of each slice", as `matched`; "batch norm": slices as
    they are, networks with batch-norm statistics of ten of them (`network.recollected`).
    """
    few = [images[index - 1] for index in evenly(len(images), 10)]
    return {"as it is": (list(models), list(images)), "mean and deviation": (list(models), rescaled(images, usual)),
            "histogram of each slice": (list(models), matched(images, usual)),
            "batch norm": ([recollected(model, few) for model in models], list(images))}
