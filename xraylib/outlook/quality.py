"""Judge a segmentation without labels, slice by slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_opening
from scipy.ndimage import label as connected_regions
from scipy.stats import rankdata, spearmanr, wasserstein_distance

from ..data import NI_YSZ, Phases, Slices, evenly_spaced
from ..datasets import require_one_size
from ..inference import logits_of, predict
from ..metrics import score_masks
from ..unet import UNet

# The indicators, and the side on which each one is bad: 1 means too high, -1 too low.
INDICATORS = {"consistency": -1, "confidence": -1, "entropy": 1, "disagreement": 1, "jump": 1,
              "rarest": -1, "shift": 1}
ALARM_LIMIT = 4  # an indicator raises an alarm this many standard deviations from the reference
REFERENCE_SLICES = 8  # validation slices that the reference is measured on
UNSURE = 0.6  # a pixel of lower confidence is suspect
SMALLEST_REGION = 64  # px; smaller suspect regions are ignored


def grey_quantiles(images: Sequence[np.ndarray]) -> np.ndarray:
    """Grey levels of some slices as 1,001 evenly spaced quantiles.

    Args:
        images: N arrays uint16 (H, W); every second row and column is used.

    Returns:
        float64 (1001,), ascending.
    """
    pixels = np.concatenate([image[::2, ::2].ravel() for image in images])
    return np.quantile(pixels, np.linspace(0, 1, 1001))


@dataclass(frozen=True)
class Inspection:
    """What networks predict for N slices without labels.

    Args:
        images: N arrays uint16 (H, W).
        numbers: int (N,); slices whose numbers differ by 1 are neighbours.
        labels: class indices of the first network, uint8 (N, H, W).
        confidence: its highest probability, float16 (N, H, W).
        entropy: of its probabilities, float16 (N, H, W), 0 to 1 (in units of log n_classes).
        disagreement: where not all networks predict the same class, bool (N, H, W).
        shift: distance of the grey levels from the training set, (N,), see `grey_shift`.
        phases: the phases of the classes.
    """

    images: Sequence[np.ndarray]
    numbers: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    entropy: np.ndarray
    disagreement: np.ndarray
    shift: np.ndarray
    phases: Phases = NI_YSZ

    def neighbours(self, index: int) -> list[int]:
        """Indices of the slices next to this one: none, one or two."""
        return np.flatnonzero(np.abs(self.numbers - self.numbers[index]) == 1).tolist()

    @cached_property
    def fractions(self) -> np.ndarray:
        """Share of each class in each slice, float64 (N, n_classes)."""
        classes = range(len(self.phases))
        return np.stack([(self.labels == phase).mean((1, 2)) for phase in classes], 1)

    @cached_property
    def indicators(self) -> dict[str, np.ndarray]:
        """The seven indicators, one number per slice, (N,); nan where a slice has no neighbour.

        "consistency": share of the pixels with the same class in the next slice, mean over both
        neighbours; "jump": largest change of a phase's share to a neighbour; "rarest": share of the
        rarest phase; "confidence" and "entropy": means over pixels; "disagreement": share of the
        pixels on which the networks disagree; "shift": see `grey_shift`.
        """
        kept, jumps = [], []
        for index in range(len(self.labels)):
            near = self.neighbours(index)
            same = [np.mean(self.labels[index] == self.labels[other]) for other in near]
            change = [np.abs(self.fractions[index] - self.fractions[other]).max() for other in near]
            kept.append(np.mean(same) if near else np.nan)
            jumps.append(max(change, default=np.nan))
        maps = {"confidence": self.confidence, "entropy": self.entropy,
                "disagreement": self.disagreement}
        found = {name: pixels.mean((1, 2), dtype=np.float64) for name, pixels in maps.items()}
        found |= {"consistency": np.array(kept), "jump": np.array(jumps),
                  "rarest": self.fractions.min(1), "shift": self.shift}
        return {name: found[name] for name in INDICATORS}

    def suspect_regions(self, index: int) -> np.ndarray:
        """Mark the regions of a slice where the segmentation may be wrong.

        A pixel is suspect where the networks disagree, where the first one is unsure (`UNSURE`), or
        where both neighbours agree on another class. Regions thinner than 3 px, such as the doubt
        along every interface, and regions below `SMALLEST_REGION` are left out.

        Returns:
            bool (H, W).
        """
        doubt = self.disagreement[index] | (self.confidence[index] < UNSURE)
        near = self.neighbours(index)
        if len(near) == 2:
            one, other = self.labels[near]
            doubt |= (one == other) & (one != self.labels[index])
        regions, n = connected_regions(binary_opening(doubt, np.ones((3, 3))))
        large = np.bincount(regions.ravel(), minlength=n + 1) >= SMALLEST_REGION
        return large[regions] & (regions > 0)


def grey_shift(images: Sequence[np.ndarray], training_levels: np.ndarray) -> np.ndarray:
    """Wasserstein distance of each slice's grey levels from those of the training set.

    The distance is the mean change of grey level that turns one distribution into the other.

    Args:
        images: N arrays uint16 (H, W).
        training_levels: `grey_quantiles` of the training set.

    Returns:
        (N,), in standard deviations of the training set.
    """
    distances = [wasserstein_distance(grey_quantiles([image]), training_levels) for image in images]
    return np.array(distances) / training_levels.std()


def inspect_volume(models: Sequence[UNet], images: Sequence[np.ndarray], numbers: np.ndarray,
                   training_levels: np.ndarray) -> Inspection:
    """Segment slices by several networks and keep what shows how reliable the result is.

    Args:
        models: networks that differ by the seed; the segmentation of the first one is judged.
        images: N arrays uint16 (H, W).
        numbers: int (N,), the number of each slice in its volume.
        training_levels: `grey_quantiles` of the training set.
    Raises:
        DataError: the images differ in size.
    """
    require_one_size(images)
    shape = (len(images), *images[0].shape)
    labels = np.empty(shape, np.uint8)
    confidence, entropy = np.empty(shape, np.float16), np.empty(shape, np.float16)
    for part, logits in logits_of(models[0], images):
        probabilities = logits.float().softmax(1)  # (B, n_classes, H, W)
        highest = probabilities.max(1)
        labels[part], confidence[part] = highest.indices.cpu(), highest.values.cpu()
        nats = -probabilities.xlogy(probabilities).sum(1).cpu()
        entropy[part] = nats / np.log(models[0].n_classes)
    disagreement = np.zeros(shape, bool)
    for model in models[1:]:
        disagreement |= predict(model, images) != labels
    return Inspection(images, np.asarray(numbers), labels, confidence, entropy, disagreement,
                      grey_shift(images, training_levels), getattr(models[0], "phases", NI_YSZ))


# -- comparison with a reference -------------------------------------------------------------------


def inspect_reference(models: Sequence[UNet], slices: Slices, held_out: np.ndarray) -> Inspection:
    """Inspect `REFERENCE_SLICES` validation slices, evenly spaced, and the slices beside them.

    Args:
        models: networks that differ by the seed.
        slices: the training volume; its labels are not used.
        held_out: numbers of its validation slices.
    """
    held_out = np.unique(held_out)
    chosen = held_out[np.array(evenly_spaced(len(held_out), REFERENCE_SLICES)) - 1]
    part = slices[np.isin(slices.numbers, chosen[:, None] + [-1, 0, 1])]
    levels = grey_quantiles(slices.subsample(40).images)
    return inspect_volume(models, part.images, part.numbers, levels)


def distance_from_reference(reference: Inspection, volume: Inspection) -> dict[str, np.ndarray]:
    """Return how far each indicator is on the bad side of the reference.

    Returns:
        (N,) by indicator, in standard deviations over the slices of the reference.
    """
    distances = {}
    for name, side in INDICATORS.items():
        expected = reference.indicators[name]
        deviation = max(float(np.nanstd(expected)), 1e-6)
        distances[name] = side * (volume.indicators[name] - np.nanmean(expected)) / deviation
    return distances


def slice_alarms(reference: Inspection, volume: Inspection) -> dict[str, np.ndarray]:
    """Which indicators raise an alarm in which slices, bool (N,) by indicator (`ALARM_LIMIT`)."""
    distances = distance_from_reference(reference, volume)
    return {name: distance > ALARM_LIMIT for name, distance in distances.items()}


def volume_alarms(reference: Inspection, volume: Inspection) -> list[str]:
    """The indicators that raise an alarm in at least half of the slices."""
    alarms = slice_alarms(reference, volume)
    return [name for name, by_slice in alarms.items() if by_slice.mean() >= 0.5]


def worst_first(volume: Inspection) -> np.ndarray:
    """Indices of the slices, the most suspect first: by the mean rank over all indicators."""
    ranks = [rankdata(side * np.nan_to_num(volume.indicators[name], nan=-side * np.inf))
             for name, side in INDICATORS.items()]
    return np.argsort(-np.mean(ranks, 0), kind="stable")


def rank_correlations(volume: Inspection, dice: np.ndarray) -> dict[str, float]:
    """Spearman's rank correlation between each indicator and the true Dice over slices.

    Args:
        volume: the inspected slices.
        dice: true Dice of each slice, (N,).

    Returns:
        By indicator: 1 if it gets worse as Dice falls, -1 if it gets better, nan if constant.
    """
    found = {}
    for name, side in INDICATORS.items():
        known = np.isfinite(volume.indicators[name])
        values = volume.indicators[name][known]
        varies = len(values) > 0 and np.ptp(values) > 0
        rank = float(spearmanr(values, dice[known]).statistic) if varies else np.nan
        found[name] = -side * rank
    return found


def judge_volume(name: str, reference: Inspection, volume: Inspection,
                 truth: Slices | None) -> dict:
    """Return a row of the table of volumes: what the indicators report, and the true scores.

    Args:
        name: name of the volume, for display.
        reference: inspected slices of the training volume.
        volume: the inspected slices.
        truth: the same slices with labels, if there are any.

    Returns:
        "volume"; "alarms" (`volume_alarms`); "distances", the mean of `distance_from_reference` by
        indicator; "dice" and "accuracy", 0 to 1, nan without labels; "confidence", the mean.
    """
    distances = distance_from_reference(reference, volume)
    means = {each: float(np.nanmean(by_slice)) for each, by_slice in distances.items()}
    scores = score_masks(volume.labels, truth) if truth else None
    counts = scores.confusion.sum(0) if scores else np.full((1, 1), np.nan)
    return {"volume": name, "alarms": volume_alarms(reference, volume), "distances": means,
            "dice": scores.mean if scores else float("nan"),
            "accuracy": float(np.trace(counts) / counts.sum()),
            "confidence": float(volume.indicators["confidence"].mean())}
