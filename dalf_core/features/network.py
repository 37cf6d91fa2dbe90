"""The DALF network: backbone U-Net, keypoint head, warper, polar-patch descriptor and fusion. Only nn.Modules.

The layers and their order are those of the official checkpoints of kind "ts-fl" (Potje et al., CVPR 2023, Apache-2.0), so that
their tensors load unchanged; OFFICIAL_NAMES maps the names.
"""
from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from .geometry import CORRECTED, ORIGINAL, PATCH_OFFSET, constant, image_to_features, image_to_warper
from .polar_grid import PolarGrid, sample_patches
from .tiles import TiledBackbone

ARCHITECTURE = "ts-fl"
CHANNELS = (1, 32, 64, 64)                      # of the image and of the maps at 1/2, 1/4 and 1/8
CONTROL_POINTS = 64
DESCRIPTORS = {"fused": 128, "polar": 64, "backbone": 64}      # kind: length

# names in the official checkpoints: names here (prefixes; what follows is the same)
OFFICIAL_NAMES = {
    "net.encoder.blocks.0.convs.": "backbone.encoder.0.",
    "net.encoder.blocks.1.convs.": "backbone.encoder.1.",
    "net.encoder.blocks.2.convs.": "backbone.encoder.2.",
    "net.decoder.convs.0.conv.": "backbone.decoder.0.",
    "net.decoder.convs.1.conv.": "backbone.decoder.1.",
    "net.decoder.conv_heatmap.": "backbone.keypoint_head.",
    "net.features.": "backbone.feature_head.",
    "tps_net.fcn.": "warper.convolutions.",
    "tps_net.attn.": "warper.perceptron.",
    "hardnet.features.": "patch_descriptor.layers.",
    "fusion_layer.": "fusion.gate.",
}


SomeNetwork = TypeVar("SomeNetwork", bound="Network")


def convolution(inputs: int, outputs: int, padding: int | tuple[int, int] = 1, *, kernel: int | tuple[int, int] = 3,
                 stride: int = 1, bias: bool = False, activation: bool = True) -> list[nn.Module]:
    """Convolution, batch norm without scale and shift, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=bias),
                               nn.BatchNorm2d(outputs, affine=False)]
    return layers + [nn.ReLU()] if activation else layers


class Backbone(nn.Module):
    """The U-Net. A grey image in; keypoint heatmap and features out."""

    def __init__(self) -> None:
        super().__init__()
        image, half, quarter, eighth = CHANNELS
        self.norm = nn.InstanceNorm2d(image)
        self.encoder = nn.ModuleList([
            nn.Sequential(*convolution(inputs, outputs), *convolution(outputs, outputs), nn.MaxPool2d(2))
            for inputs, outputs in zip(CHANNELS[:-1], CHANNELS[1:])])
        self.decoder = nn.ModuleList([
            nn.Sequential(*convolution(inputs, outputs, 0), *convolution(outputs, outputs, 0))
            for inputs, outputs in ((eighth + quarter, quarter), (quarter + half, half))])
        self.keypoint_head = nn.Sequential(*convolution(half, half), nn.Conv2d(half, 1, 1))
        self.feature_head = nn.Sequential(*convolution(eighth, eighth),
                                          *convolution(eighth, eighth, 0, kernel=1, bias=True, activation=False))

    def forward(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """gray: (B, 1, H, W), any brightness scale. Returns heatmap (B, 1, H, W) and features (B, 64, H//8, W//8)."""
        half = self.encoder[0](self.norm(gray).to(dtype_of(self.encoder)))
        quarter = self.encoder[1](half)
        eighth = self.encoder[2](quarter)
        decoded = eighth
        for block, skip in zip(self.decoder, (quarter, half)):
            stretched = F.interpolate(decoded, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            decoded = block(torch.cat([stretched, skip], dim=1))
        full = self.enlarge(decoded.to(dtype_of(self.keypoint_head)), gray.shape[-2:])
        return self.keypoint_head(full), self.feature_head(eighth).to(gray.dtype)

    @staticmethod
    def enlarge(decoded: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """Bicubic, corner to corner. The trainer puts a version in its place whose gradient is faster."""
        return F.interpolate(decoded, size=size, mode="bicubic", align_corners=True)

    def tiled(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same as forward, in memory that hardly grows with the image; for large ones."""
        return TiledBackbone(self)(gray)


class Warper(nn.Module):
    """Predicts how the polar grid around a keypoint bends, as parameters of a thin-plate spline."""

    def __init__(self) -> None:
        super().__init__()
        channels = CHANNELS[-1]
        self.convolutions = nn.Sequential(*convolution(channels, 2 * channels), *convolution(2 * channels, 2 * channels, 0))
        self.perceptron = nn.Sequential(
            nn.Linear(2 * channels, 4 * channels), nn.BatchNorm1d(4 * channels, affine=False), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(4 * channels, 4 * channels), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(4 * channels, 2 * (CONTROL_POINTS + 2)), nn.Tanh())
        for layer in self.perceptron:           # start from the unbent grid
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, 1e-5)
                nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, 64, h, w) features to the map (B, 128, h - 2, w - 2) that spline_parameters reads."""
        return self.convolutions(features)

    def spline_parameters(self, sampled: torch.Tensor) -> torch.Tensor:
        """(N, 128) samples of the map to spline parameters (N, 66, 2)."""
        return self.perceptron(sampled).view(-1, CONTROL_POINTS + 2, 2)


class CircularRows(nn.Module):
    """Repeats the last row above the first and the first below the last: angles go round."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2)


class PatchDescriptor(nn.Module):
    """Describes polar patches. Averaging over the angle makes the result nearly independent of rotation."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.InstanceNorm2d(1)]
        for inputs, outputs, stride in ((1, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 2), (64, 64, 1)):
            layers += [CircularRows(), *convolution(inputs, outputs, (0, 1), stride=stride)]
        layers += [nn.Dropout(0.1), nn.AvgPool2d((8, 1), stride=1)]
        for width in (3, 3, 3, 2):
            layers += convolution(64, 64, 0, kernel=(1, width), activation=width == 3)
        self.layers = nn.Sequential(*layers)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, 1, 32, 32) patches [angle, radius] to (N, 64), not normalised."""
        return self.layers(patches.to(dtype_of(self.layers))).flatten(1).to(patches.dtype)


class Fusion(nn.Module):
    """Joins both halves: each of the 128 numbers is weighted by a gate that sees them all."""

    def __init__(self) -> None:
        super().__init__()
        length = DESCRIPTORS["fused"]
        self.gate = nn.Sequential(nn.Linear(length, length), nn.ReLU(), nn.Linear(length, length), nn.Sigmoid())

    def forward(self, polar: torch.Tensor, backbone: torch.Tensor) -> torch.Tensor:
        """polar (N, 64), backbone (N, 64), neither normalised: (N, 128), not normalised."""
        joined = torch.cat([polar, backbone], dim=1)
        return self.gate(joined) * joined


def sample_map(values: torch.Tensor, xy: torch.Tensor, *, mode: str, padding: str) -> torch.Tensor:
    """Read a map (1, C, h, w) at samples xy (N, 2); the first sample is (0, 0). Returns (N, C).

    Of a batch of maps (B, C, h, w) each is read at the next N / B samples.
    """
    height, width = values.shape[-2:]
    grid = xy / constant((max(width - 1, 1), max(height - 1, 1)), xy) * 2 - 1
    read = F.grid_sample(values, grid.view(values.shape[0], -1, 1, 2).to(values.dtype), mode=mode, padding_mode=padding, align_corners=True)
    return read[..., 0].transpose(1, 2).flatten(0, 1)


def chunks(rows: torch.Tensor, most: int | None) -> list[torch.Tensor]:
    """At most so many rows each. Slices, since in an ONNX graph a split needs to know the number of rows; all at once where it is free."""
    return [rows[start:start + most] for start in range(0, len(rows), most)] if most else [rows]


class Network(nn.Module):
    """What extraction, training and checkpoints need of a network; DalfNetwork and light_network.LightNetwork are ones.

    forward is the dense half (maps of an image); describe is the sparse half (keypoints to descriptors).
    architecture: its kind, as checkpoints name it. geometries: in which its maps can be read; the first is the one it is trained with.
    """

    architecture: str
    geometries: tuple[str, ...]
    backbone: nn.Module
    patch_descriptor: nn.Module
    fusion: Fusion

    def describe(self, gray: torch.Tensor, features: torch.Tensor, xy: torch.Tensor, *, geometry: str = CORRECTED,
                 descriptor: str = "fused", chunk: int | None = None) -> torch.Tensor:
        """Unit descriptors (N, D) of pixels xy (N, 2) in one image; D by the kind of descriptor, see DESCRIPTORS.

        gray: (1, 1, H, W). features: from forward. chunk: keypoints worked on at once, bounds the memory.
        A batch (B, 1, H, W) takes N / B pixels an image, those of the first image first, and no chunk.
        """
        raise NotImplementedError

    def to_half(self) -> None:
        """Turn the costly layers to float16, in place. Where keypoints are placed, float32 stays: half precision has plateaus there."""
        raise NotImplementedError

    def folded(self: SomeNetwork) -> SomeNetwork:
        """A copy for inference: in evaluation mode, without gradients, batch norms folded into the layers before them."""
        network = copy.deepcopy(self).eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, nn.Sequential):
                _fold_batch_norms(module)
        return network


class DalfNetwork(Network):
    """DALF's, all parts."""

    backbone: Backbone
    patch_descriptor: PatchDescriptor
    architecture = ARCHITECTURE
    geometries = (CORRECTED, ORIGINAL)

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.warper = Warper()
        self.polar_grid = PolarGrid()
        self.patch_descriptor = PatchDescriptor()
        self.fusion = Fusion()

    def forward(self, gray: torch.Tensor, tile_above: float = math.inf) -> tuple[torch.Tensor, torch.Tensor]:
        """gray: (B, 1, H, W). Returns heatmap (B, 1, H, W) and features (B, 64, H//8, W//8).

        tile_above: images with more pixels are worked on in tiles.
        """
        if gray.shape[-2] * gray.shape[-1] > tile_above:
            return self.backbone.tiled(gray)
        return self.backbone(gray)

    def backbone_descriptors(self, features: torch.Tensor, xy: torch.Tensor, image_size: tuple[int, int],
                             geometry: str = CORRECTED) -> torch.Tensor:
        """The features (1, 64, h, w) at pixels xy (N, 2): (N, 64), not normalised."""
        padding = "border" if geometry == CORRECTED else "zeros"
        return sample_map(features, image_to_features(xy, image_size, geometry), mode="bicubic", padding=padding)

    def patches(self, gray: torch.Tensor, warper_map: torch.Tensor, xy: torch.Tensor, geometry: str = CORRECTED) -> torch.Tensor:
        """Bent polar patches (N, 1, 32, 32) of gray (1, 1, H, W) around pixels xy (N, 2)."""
        image_size = (gray.shape[-1], gray.shape[-2])
        padding = "border" if geometry == CORRECTED else "zeros"
        sampled = sample_map(warper_map, image_to_warper(xy, image_size, geometry), mode="bilinear", padding=padding)
        offsets = self.polar_grid(self.warper.spline_parameters(sampled).to(xy.dtype))
        return sample_patches(gray, xy[:, :, None] + offsets + PATCH_OFFSET[geometry])

    def describe(self, gray: torch.Tensor, features: torch.Tensor, xy: torch.Tensor, *, geometry: str = CORRECTED,
                 descriptor: str = "fused", chunk: int | None = None) -> torch.Tensor:
        image_size = (gray.shape[-1], gray.shape[-2])
        if len(xy) == 0:
            return gray.new_zeros((0, DESCRIPTORS[descriptor]))
        parts = []
        if descriptor != "polar":
            backbone = self.backbone_descriptors(features, xy, image_size, geometry)
        if descriptor == "backbone":
            return F.normalize(backbone)
        warper_map = self.warper(features)
        for some in chunks(xy, chunk):
            parts.append(self.patch_descriptor(self.patches(gray, warper_map, some, geometry)))
        polar = torch.cat(parts)
        return F.normalize(polar if descriptor == "polar" else self.fusion(polar, backbone))

    def to_half(self) -> None:
        for module in (self.backbone.encoder, self.backbone.decoder, self.backbone.feature_head, self.patch_descriptor):
            module.half()


def dtype_of(module: nn.Module) -> torch.dtype:
    """The type of a module's weights."""
    return next(module.parameters()).dtype


def rename_official(name: str) -> str:
    """Our name of a tensor in an official checkpoint; other names stay as they are."""
    for official, ours in OFFICIAL_NAMES.items():
        if name.startswith(official):
            return ours + name[len(official):]
    return name


def _fold_batch_norms(layers: nn.Sequential) -> None:
    """Fold each batch norm into the convolution or linear layer before it; dropouts go too. The positions stay."""
    for position, layer in enumerate(layers):
        if isinstance(layer, nn.Dropout):
            layers[position] = nn.Identity()
        if not isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            continue
        before = layers[position - 1]
        if not isinstance(before, (nn.Conv2d, nn.Linear)) or layer.running_mean is None or layer.running_var is None:
            raise TypeError(f"batch norm at {position} follows {type(before).__name__}: cannot be folded")
        scale = torch.rsqrt(layer.running_var.double() + layer.eps)
        bias = torch.zeros_like(scale) if before.bias is None else before.bias.double()
        weight = before.weight.double() * scale.view(-1, *[1] * (before.weight.dim() - 1))
        before.weight = nn.Parameter(weight.to(before.weight.dtype), requires_grad=False)
        before.bias = nn.Parameter(((bias - layer.running_mean.double()) * scale).to(before.weight.dtype), requires_grad=False)
        layers[position] = nn.Identity()
