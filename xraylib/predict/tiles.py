"""Where a prediction is cut: tiles of slices, slabs of neighbouring slices, and what a network must see of each."""

from collections.abc import Iterator

from ..unet import UNet

IN_FLIGHT = {2: 2**23, 3: 2**24}          # channels at the top x voxels of a tile, by dims: what bounds the memory


def reach_of(model: UNet) -> int:
    """How far a pixel's surroundings reach that its prediction depends on, px; a multiple of the poolings' step."""
    return 6 * 2**model.depth


def inner_of(model: UNet, side: int) -> int:
    """What a tile of this side is trusted for, px: less its surroundings, and a multiple of the poolings' step."""
    inner = max(side - 2 * reach_of(model), reach_of(model))
    return inner - inner % 2**model.depth


def slab_of(model: UNet, n: int, side: int = 0) -> int:
    """How many of n neighbouring slices are predicted together: one, or by a 3-D network what fits in cubes.

    ``side``: of the cubes, px (0: as `IN_FLIGHT` allows).
    """
    if model.dims == 2:
        return 1
    side = side or int((IN_FLIGHT[3] / model.width) ** (1 / 3))
    return n if n <= side else inner_of(model, side)


def tile_side(model: UNet, deep: int = 1) -> int:
    """The side of a tile of so many slices that keeps a network of this width within `IN_FLIGHT`, px."""
    return int((IN_FLIGHT[model.dims] / (model.width * deep)) ** 0.5)


def spans(length: int, inner: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Cuts of 0..length: what each tile is trusted for, and what it must see: ``reach`` more on both sides."""
    for start in range(0, length, inner):
        stop = min(start + inner, length)
        yield slice(start, stop), slice(max(0, start - reach), min(length, stop + reach))


def neighbours(part: range, context: int, n: int) -> list[int]:
    """These slices of n and ``context`` more on either side; beyond an end of the volume, its last slice again."""
    return [min(max(index, 0), n - 1) for index in range(part.start - context, part.stop + context)]


def seen_by(model: UNet, part: range, n: int) -> list[int]:
    """The slices of n that a network must be given for these ones, as `network.logits_of_stack` takes them."""
    if model.dims == 2:
        return neighbours(part, model.context, n)
    return list(range(max(0, part.start - reach_of(model)), min(n, part.stop + reach_of(model))))
