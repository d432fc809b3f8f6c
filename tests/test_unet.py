import pytest
import torch

from xraylib.unet import UNet


def parameters(model):
    return sum(weights.numel() for weights in model.parameters())


def test_the_posters_network_has_31_million_parameters():
    assert parameters(UNet(64, 4)) == 31_036_611 and parameters(UNet(16, 2)) == 117_107


@pytest.mark.parametrize("size", [(501, 501), (1, 1), (33, 70), (16, 16)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_any_height_and_width(size, padding, depth):
    model = UNet(2, depth, padding=padding).eval()
    larger = [side + 2 * model.margin for side in size]
    assert model(torch.zeros(1, 1, *larger)).shape == (1, 3, *size)


def test_the_papers_sizes():
    model = UNet(2, 4, padding="valid")
    assert model.margin == 92 and 572 - 2 * model.margin == 388


def test_unpadded_output_depends_on_real_pixels_alone():
    """Where no convolution pads, a pixel has the same logits in a large and in a small window around it."""
    torch.manual_seed(0)
    model = UNet(4, 2, padding="valid").eval()
    large = torch.randn(1, 1, 24 + 2 * model.margin, 24 + 2 * model.margin)
    small = large[..., 4:8 + 4 + 2 * model.margin, 4:8 + 4 + 2 * model.margin]
    assert torch.allclose(model(large)[..., 4:12, 4:12], model(small), atol=1e-5)


def test_padding_does_not_change_sizes_that_need_none():
    torch.manual_seed(0)
    model = UNet(4, 2).eval()
    x = torch.randn(1, 1, 32, 32)
    padded = torch.cat([x, x[..., -1:].expand(-1, -1, -1, 4)], -1)                  # the edge pixels repeated, by hand
    padded = torch.cat([padded, padded[..., -1:, :].expand(-1, -1, 4, -1)], -2)
    assert torch.allclose(model(padded[..., :33, :33]), model(padded)[..., :33, :33], atol=1e-5)


def test_grey_levels_are_standardised_inside_and_travel_with_the_weights():
    model = UNet(4, 2).eval()
    x = torch.rand(1, 1, 16, 16) * 60000
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    plain = UNet(4, 2).eval()
    plain.load_state_dict(model.state_dict() | {"grey": torch.tensor([0.0, 1.0])})
    assert torch.allclose(model(x), plain((x - 30000) / 8000), atol=1e-5)


def test_a_wrong_padding_and_too_small_an_input_are_refused():
    with pytest.raises(ValueError, match="must be 'same' or 'valid'"):
        UNet(4, 2, padding="full")
    with pytest.raises(ValueError, match="needs more than"):
        UNet(4, 4, padding="valid")(torch.zeros(1, 1, 184, 184))
