"""A trained U-Net as an ONNX graph that includes normalisation and padding.

The graph is built layer by layer. This makes it small and the same with every version of PyTorch,
and it takes images of any height and width.
"""

import json
from dataclasses import asdict

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from .. import __version__
from ..inference import fuse_batch_norm
from ..unet import UNet

OPSET, IR_VERSION = 17, 8  # old enough for the ONNX Runtime of Fiji's deepImageJ
INPUT, OUTPUT = "grey", "probabilities"


class _Graph:
    """Nodes and weights of a graph, in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray | torch.Tensor | list[int]) -> str:
        """Add an array and return its name."""
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: object) -> str:
        """Add an operation and return the name of its output."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def layer(self, x: str, layer: nn.Module) -> str:
        """Add a layer of the U-Net and return the name of its output."""
        parameters = [self.constant(each.detach()) for each in layer.parameters(recurse=False)]
        match layer:
            case nn.Sequential():
                for part in layer:
                    x = self.layer(x, part)
                return x
            case nn.Identity():
                return x
            case nn.Conv2d():
                return self.node("Conv", x, *parameters, pads=2 * list(layer.padding))
            case nn.ConvTranspose2d():
                return self.node("ConvTranspose", x, *parameters, strides=list(layer.stride))
            case nn.BatchNorm2d():  # with the statistics of each image that the network is given
                return self.node("InstanceNormalization", x, *parameters, epsilon=layer.eps)
            case nn.MaxPool2d():
                return self.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
            case nn.ReLU():
                return self.node("Relu", x)
        raise TypeError(f"A U-Net has no {type(layer).__name__}.")


def build_graph(model: UNet, recalibrate: bool) -> bytes:
    """Return a network of single slices, with padding "same", as the content of an ONNX file.

    Its input "grey" holds grey levels 0..65535, float32 (B, 1, H, W). Its output "probabilities" is
    float32 (B, n_classes, H, W). `metadata_props` hold the phases and the grey levels, as JSON.

    Args:
        model: the network, on the CPU.
        recalibrate: whether batch norm takes its statistics from each image, as in training,
            instead of those that the network has learned.
    """
    graph, parts = _Graph(), model if recalibrate else fuse_batch_norm(model)
    sides = graph.node("Shape", INPUT, start=2)
    rest = graph.node("Mod", graph.node("Neg", sides), graph.constant([model.stride]))
    ends = graph.node("Concat", graph.constant([0] * 6), rest, axis=0)
    x = graph.node("Pad", INPUT, ends, mode="edge")              # below and to the right
    mean, std = map(graph.constant, model.grey)
    x = graph.node("Div", graph.node("Sub", x, mean), std)
    x, skips = graph.layer(x, parts.stem.layers), []
    for down in parts.down:
        skips.append(x)
        x = graph.layer(graph.layer(x, down.pool), down.conv.layers)
    for up in parts.up:
        x = graph.node("Concat", skips.pop(), graph.layer(x, up.up), axis=1)
        x = graph.layer(x, up.conv.layers)
    x = graph.layer(x, parts.head)
    x = graph.node("Slice", x, graph.constant([0, 0]), sides, graph.constant([2, 3]))
    graph.node("Softmax", x, output=OUTPUT, axis=1)
    ends_of_graph = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT,
                                                   ["batch", channels, "height", "width"])
                     for name, channels in ((INPUT, 1), (OUTPUT, model.n_classes))]
    built = helper.make_model(
        helper.make_graph(graph.nodes, "unet", ends_of_graph[:1], ends_of_graph[1:], graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="xraylib", producer_version=__version__)
    helper.set_model_props(built, {name: json.dumps(value) for name, value in {
        "phases": model.phases.to_dict(),
        "grey_scale": asdict(model.grey_scale),
        "grey": model.grey.tolist(),
        "grey_quantiles": model.grey_quantiles.round(1).tolist(),
        "stride": model.stride, "reach": model.reach,
    }.items()})
    onnx.checker.check_model(built, full_check=True)
    return built.SerializeToString(deterministic=True)
