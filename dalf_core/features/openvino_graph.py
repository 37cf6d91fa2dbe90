"""PyTorch layers written down as an OpenVINO model, node by node: in milliseconds, without tracing.

`openvino.convert_model` would trace each module, which takes seconds at every start. What is not in LAYERS has no translation.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .light_network import LightBackbone, PatchRows
from .network import Backbone, CircularRows, PatchDescriptor
from .tiles import CUBIC_A, JoinedTile, KeypointTile

TELEMETRY = "openvino_telemetry"

Node = Any          # an openvino.Output


def quiet_openvino() -> Any:
    """The openvino package. Its import reports to its maker's server unless the package for that is missing, so it is hidden meanwhile.

    Raises ImportError.
    """
    if "openvino" in sys.modules or TELEMETRY in sys.modules:
        import openvino

        return openvino
    sys.modules[TELEMETRY] = None           # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules[TELEMETRY]
    return openvino


def model_of(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> Any:
    """A module in evaluation mode as an openvino.Model of float32. shapes: of its inputs. TypeError: a layer without a translation."""
    openvino = quiet_openvino()
    inputs = [_ops().parameter(list(shape), np.float32) for shape in shapes]
    outputs = _nodes(module, *(node.output(0) for node in inputs))
    return openvino.Model(list(outputs) if isinstance(outputs, tuple) else [outputs], inputs)


def _nodes(module: nn.Module, *inputs: Node) -> Any:
    """A module's output, or a tuple of them."""
    if type(module) not in LAYERS:
        raise TypeError(f"{type(module).__name__} has no translation for OpenVINO: write one in {__name__}")
    return LAYERS[type(module)](module, *inputs)


def _sequence(module: nn.Sequential, x: Node) -> Node:
    for layer in module:
        x = _nodes(layer, x)
    return x


def _convolution(layer: nn.Conv2d, x: Node) -> Node:
    assert layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    pads = list(layer.padding)
    y = _ops().convolution(x, _constant(layer.weight), list(layer.stride), pads, pads, list(layer.dilation)).output(0)
    return y if layer.bias is None else _ops().add(y, _constant(layer.bias.view(1, -1, 1, 1))).output(0)


def _max_pool(layer: nn.MaxPool2d, x: Node) -> Node:
    assert layer.padding == 0 and layer.dilation == 1 and not layer.ceil_mode
    return _ops().max_pool(x, _pair(layer.stride), [1, 1], [0, 0], [0, 0], _pair(layer.kernel_size)).output(0)


def _average_pool(layer: nn.AvgPool2d, x: Node) -> Node:
    assert layer.padding == 0 and not layer.ceil_mode
    return _ops().avg_pool(x, _pair(layer.stride), [0, 0], [0, 0], _pair(layer.kernel_size), True).output(0)


def _instance_norm(layer: nn.InstanceNorm2d, x: Node) -> Node:
    assert not layer.affine and not layer.track_running_stats
    return _ops().mvn(x, np.array([2, 3]), True, layer.eps, "inside_sqrt").output(0)


def _circular_rows(_: CircularRows, x: Node) -> Node:
    rows = x.get_shape()[2]
    return _join([_rows(x, rows - 1, rows), x, _rows(x, 0, 1)], axis=2)


def _patch_descriptor(module: PatchDescriptor, x: Node) -> Node:
    y = _nodes(module.layers, x)
    return _ops().reshape(y, np.array([0, -1]), special_zero=True).output(0)


def _backbone(module: Backbone, gray: Node) -> tuple[Node, Node]:
    half = _nodes(module.encoder[0], _nodes(module.norm, gray))
    quarter = _nodes(module.encoder[1], half)
    eighth = decoded = _nodes(module.encoder[2], quarter)
    for block, skip in zip(module.decoder, (quarter, half)):
        decoded = _nodes(block, _join([_stretched(decoded, skip.get_shape()[2:], "linear_onnx"), skip], axis=1))
    full = _stretched(decoded, gray.get_shape()[2:], "cubic")
    return _nodes(module.keypoint_head, full), _nodes(module.feature_head, eighth)


def _light_backbone(module: LightBackbone, gray: Node) -> tuple[Node, Node]:
    half = _nodes(module.at_half, _nodes(module.norm, gray))
    quarter = _nodes(module.at_quarter, half)
    eighth = _nodes(module.at_eighth, quarter)
    eighth = _nodes(module.join_eighth, _plus_enlarged(eighth, _nodes(module.at_sixteenth, eighth)))
    quarter = _nodes(module.join_quarter, _plus_enlarged(quarter, _nodes(module.to_quarter, eighth)))
    heatmap = _nodes(module.keypoint_head, _plus_enlarged(half, _nodes(module.to_half, quarter)))
    return heatmap, _nodes(module.feature_head, eighth)


def _patch_rows(module: PatchRows, patches: Node) -> Node:
    """The last convolution is as wide as what it sees, so it is a matrix product, which takes half the time."""
    *layers, last = (layer for layer in module.layers if not isinstance(layer, nn.Identity))
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    found = _ops().transpose(_nodes(nn.Sequential(*layers), patches), np.array([0, 2, 3, 1])).output(0)        # channels last
    count, rows, width, channels = found.get_shape()
    assert last.kernel_size == (1, width)
    weight = _constant(last.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1))
    product = _ops().matmul(_ops().reshape(found, np.array([count, rows, width * channels]), False).output(0), weight, False, False)
    return _ops().add(product.output(0), _constant(last.bias.view(1, 1, -1))).output(0)


def _joined_tile(module: JoinedTile, decoded: Node, skip: Node) -> Node:
    return _nodes(module.layers, _join([_stretched(decoded, skip.get_shape()[2:], "linear_onnx"), skip], axis=1))


def _keypoint_tile(module: KeypointTile, decoded: Node, gray: Node) -> Node:
    return _nodes(module.layers, _stretched(decoded, gray.get_shape()[2:], "cubic"))


LAYERS: dict[type[nn.Module], Callable[..., Any]] = {
    nn.Sequential: _sequence,
    nn.Conv2d: _convolution,
    nn.ReLU: lambda _, x: _ops().relu(x).output(0),
    nn.Identity: lambda _, x: x,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    nn.InstanceNorm2d: _instance_norm,
    CircularRows: _circular_rows,
    PatchDescriptor: _patch_descriptor,
    nn.PixelUnshuffle: lambda layer, x: _ops().space_to_depth(x, "depth_first", layer.downscale_factor).output(0),
    nn.PixelShuffle: lambda layer, x: _ops().depth_to_space(x, "depth_first", layer.upscale_factor).output(0),
    Backbone: _backbone,
    LightBackbone: _light_backbone,
    PatchRows: _patch_rows,
    JoinedTile: _joined_tile,
    KeypointTile: _keypoint_tile,
}


def _ops() -> Any:
    return quiet_openvino().opset13


def _constant(values: torch.Tensor) -> Node:
    return _ops().constant(values.detach().float().contiguous().numpy()).output(0)


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _join(parts: list[Node], axis: int) -> Node:
    return _ops().concat(parts, axis).output(0)


def _rows(x: Node, first: int, last: int) -> Node:
    return _ops().slice(x, *(np.array([number]) for number in (first, last, 1, 2))).output(0)


def _plus_enlarged(x: Node, half: Node) -> Node:
    """x plus `half` enlarged to its size, see light_network.enlarge."""
    return _ops().add(x, _stretched(half, x.get_shape()[2:], "linear_onnx", "half_pixel")).output(0)


def _stretched(x: Node, size: Sequence[int], mode: str, places: str = "align_corners") -> Node:
    """To (height, width), corner to corner unless `places` says otherwise."""
    return _ops().interpolate(x, np.array(list(size)), mode, "sizes", coordinate_transformation_mode=places,
                              cube_coeff=CUBIC_A, axes=np.array([2, 3])).output(0)
