"""The U-Net: its sizes, its padding and its grey levels."""

import pytest
import torch

from xraylib.errors import ParameterError
from xraylib.unet import UNet


def count_weights(model):
    return sum(weights.numel() for weights in model.parameters())


def test_the_posters_network_has_31_million_weights():
    assert count_weights(UNet(64, 4)) == 31_036_611 and count_weights(UNet(16, 2)) == 117_107


@pytest.mark.parametrize(("width", "depth", "n_classes", "in_channels"), [
    (16, 2, 3, 1), (16, 2, 3, 5), (4, 3, 2, 1), (4, 1, 5, 2)])
def test_the_number_of_weights_by_arithmetic(width, depth, n_classes, in_channels):
    """Batch norm has two numbers per channel; only "up" and "head" have biases."""
    def double(before, after):
        return 9 * (before * after + after * after) + 4 * after
    expected = double(in_channels, width) + n_classes * width + n_classes
    for c in [width * 2**level for level in range(depth)]:
        expected += double(c, 2 * c) + 4 * 2 * c * c + c + double(2 * c, c)
    assert count_weights(UNet(width, depth, n_classes, in_channels=in_channels)) == expected


@pytest.mark.parametrize("size", [(501, 501), (1, 1), (33, 70), (16, 16)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_images_of_any_size(size, padding, depth):
    model = UNet(2, depth, n_classes=4, padding=padding).eval()
    larger = [side + 2 * model.margin for side in size]
    assert model(torch.zeros(1, 1, *larger)).shape == (1, 4, *size)


def test_the_papers_sizes():
    model = UNet(2, 4, padding="valid")
    assert model.margin == 92 and 572 - 2 * model.margin == 388
    assert (model.stride, model.reach) == (16, 96)


def test_unpadded_output_depends_on_real_pixels_only():
    """Without padding, a pixel has the same logits in a large and in a small window."""
    torch.manual_seed(0)
    model = UNet(4, 2, padding="valid").eval()
    large = torch.randn(1, 1, 24 + 2 * model.margin, 24 + 2 * model.margin)
    small = large[..., 4:8 + 4 + 2 * model.margin, 4:8 + 4 + 2 * model.margin]
    assert torch.allclose(model(large)[..., 4:12, 4:12], model(small), atol=1e-5)


def test_a_prediction_depends_on_pixels_within_reach_only():
    torch.manual_seed(0)
    model = UNet(4, 2).eval()
    x = torch.randn(1, 1, 8, 64, requires_grad=True)
    model(x)[..., 0].sum().backward()
    seen = x.grad[0, 0].abs().sum(0).nonzero()
    assert 0 < seen.max() <= model.reach < 64


def test_the_sides_that_the_poolings_need_repeat_the_edge():
    torch.manual_seed(0)
    model = UNet(4, 2).eval()
    x = torch.randn(1, 1, 32, 32)
    padded = torch.cat([x, x[..., -1:].expand(-1, -1, -1, 4)], -1)
    padded = torch.cat([padded, padded[..., -1:, :].expand(-1, -1, 4, -1)], -2)
    assert torch.allclose(model(padded[..., :33, :33]), model(padded)[..., :33, :33], atol=1e-5)


def test_grey_levels_are_standardised_inside_and_travel_with_the_weights():
    model = UNet(4, 2).eval()
    x = torch.rand(1, 1, 16, 16) * 60000
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    plain = UNet(4, 2).eval()
    plain.load_state_dict(model.state_dict() | {"grey": torch.tensor([0.0, 1.0])})
    assert torch.allclose(model(x), plain((x - 30000) / 8000), atol=1e-5)


def test_a_2d_network_sees_each_slice_alone():
    model, stack = UNet(2, 1), torch.rand(3, 8, 9)
    assert model.slices_needed(range(2, 5), 7) == [2, 3, 4] and model.slab_size(7) == 1
    assert torch.equal(model.arrange(stack)[:, 0], stack) and not model.sees_neighbours
    assert model.per_slice(stack) is stack


def test_a_wrong_padding_and_too_small_an_input_are_refused():
    with pytest.raises(ParameterError, match="padding is 'full'; it must be 'same' or 'valid'"):
        UNet(4, 2, padding="full")
    with pytest.raises(ValueError, match="needs more than 184 px per side"):
        UNet(4, 4, padding="valid")(torch.zeros(1, 1, 184, 184))
