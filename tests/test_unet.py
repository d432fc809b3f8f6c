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


# -- volumes, and slices with their neighbours ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 33, 18), (8, 8, 8), (3, 7, 16)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_volume_of_any_sides(size, depth):
    assert UNet(2, depth, dims=3).eval()(torch.zeros(2, 1, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize(("width", "depth", "dims", "context"), [
    (16, 2, 2, 0), (16, 2, 2, 2), (9, 2, 3, 0), (4, 3, 3, 0)])
def test_the_number_of_weights_by_arithmetic(width, depth, dims, context):
    """Kernels of 3^dims and, upwards, of 2^dims; two numbers a channel for batch norm, biases in "up" and "head"."""
    def double(c_in, c):
        return 3**dims * (c_in * c + c * c) + 4 * c
    levels = [width * 2**level for level in range(depth + 1)]
    expected = double(1 + 2 * context, width) + 3 * width + 3
    expected += sum(double(c, 2 * c) + 2**dims * 2 * c * c + c + double(2 * c, c) for c in levels[:-1])
    assert parameters(UNet(width, depth, dims=dims, context=context)) == expected


def along_z(flat):
    """The 3-D network that does in every slice what a 2-D one does: only the middle of each kernel along z is not 0."""
    model, weights = UNet(flat.width, flat.depth, dims=3), {}
    for name, deep in model.state_dict().items():
        own = flat.state_dict()[name]
        if own.ndim < 4:
            weights[name] = own
        elif ".up." in name:                                       # 2 x 2 x 2: the same for both slices
            weights[name] = own.unsqueeze(2).expand(deep.shape)
        else:
            weights[name] = torch.zeros_like(deep)
            weights[name][:, :, deep.shape[2] // 2] = own
    model.load_state_dict(weights)
    return model.eval()


def test_a_3d_network_that_looks_at_single_slices_is_the_2d_network():
    """On a volume that does not change along z, so that its poolings along z change nothing."""
    torch.manual_seed(0)
    flat = UNet(4, 2).eval()
    image = torch.randn(1, 1, 21, 34)
    deep = along_z(flat)(image.unsqueeze(2).expand(1, 1, 8, 21, 34))
    assert torch.allclose(deep, flat(image).unsqueeze(2).expand(deep.shape), atol=1e-5)


def test_context_is_read_and_all_axes_of_a_volume_count_alike():
    torch.manual_seed(0)
    model = UNet(4, 2, context=1).eval()
    x = torch.randn(1, 3, 16, 16)
    assert not torch.allclose(model(x), model(x.flip(1)), atol=1e-3)
    deep = UNet(4, 2, dims=3).eval()
    turned = UNet(4, 2, dims=3).eval()
    turned.load_state_dict({name: value.transpose(2, 4) if value.ndim == 5 else value
                            for name, value in deep.state_dict().items()})
    volume = torch.randn(1, 1, 7, 12, 18)
    assert torch.allclose(deep(volume), turned(volume.transpose(2, 4)).transpose(2, 4), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"dims": 4}, {"dims": 3, "padding": "valid"}, {"dims": 3, "context": 1}])
def test_networks_that_are_not_there_are_refused(wrong):
    with pytest.raises(ValueError, match="dims must be 2, or 3 with padding 'same' and context 0"):
        UNet(4, 2, **wrong)
