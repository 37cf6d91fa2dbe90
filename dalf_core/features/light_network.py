"""The light network: a small U-Net for heatmap and features, and a small network for polar patches. Only nn.Modules.

It has the parts and the kinds of descriptors of network.DalfNetwork and costs a fraction. Every sample of its maps lies at the middle of
the pixels it stands for (geometry "aligned"). Patches are log-polar and not bent. What the patch network finds turns with the patch, and is
turned back by the patch's own direction instead of being averaged over the angle.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from .geometry import ALIGNED, image_to_features
from .network import DESCRIPTORS, CircularRows, Fusion, Network, chunks, convolution, dtype_of, sample_map
from .polar_grid import sample_patches

ARCHITECTURE = "light"
MULTIPLE = 16                           # sides of the maps' images: they are halved four times
CHANNELS = (16, 32, 64, 64)             # at 1/2, 1/4, 1/8 and 1/16
ANGLES, RADII = 32, 16                  # samples of a patch
LEAST_RADIUS, MAX_RADIUS = 1.0, 32.0    # pixels, of the innermost and the outermost samples
FAR_STEP = 4                            # the outer half of the radii is read from the image averaged over squares of this side
WIDTHS = (16, 32, 32, 64, 64)           # channels of the patch descriptor
LIGHTER = 4                             # so many patches at once take as little memory as one of DALF's
HARMONICS = 4                           # of the angle, from the mean on

Reader = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


class LightBackbone(nn.Module):
    """The U-Net. A grey image, whose sides are multiples of 16, in; keypoint heatmap and features out."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = CHANNELS
        length = DESCRIPTORS["backbone"]
        self.norm = nn.InstanceNorm2d(1)
        self.at_half = nn.Sequential(nn.PixelUnshuffle(2), *convolution(4, half), *convolution(half, half))
        self.at_quarter = nn.Sequential(nn.MaxPool2d(2), *convolution(half, quarter), *convolution(quarter, quarter))
        self.at_eighth = nn.Sequential(nn.MaxPool2d(2), *convolution(quarter, eighth), *convolution(eighth, eighth))
        self.at_sixteenth = nn.Sequential(nn.MaxPool2d(2), *convolution(eighth, sixteenth), *convolution(sixteenth, sixteenth))
        self.join_eighth = nn.Sequential(*convolution(eighth, eighth))
        self.to_quarter = nn.Sequential(*convolution(eighth, quarter, 0, kernel=1))
        self.join_quarter = nn.Sequential(*convolution(quarter, quarter))
        self.to_half = nn.Sequential(*convolution(quarter, half, 0, kernel=1))
        self.keypoint_head = nn.Sequential(*convolution(half, half), nn.Conv2d(half, 4, 3, padding=1), nn.PixelShuffle(2))
        self.feature_head = nn.Sequential(*convolution(eighth, eighth), nn.Conv2d(eighth, length, 1))

    def forward(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """gray: (B, 1, H, W), any brightness scale. Returns heatmap (B, 1, H, W) and features (B, 64, H/8, W/8)."""
        half = self.at_half(self.norm(gray).to(dtype_of(self.at_half)))
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        eighth = self.join_eighth(eighth + enlarge(self.at_sixteenth(eighth)))
        quarter = self.join_quarter(quarter + enlarge(self.to_quarter(eighth)))
        return (self.keypoint_head(half + enlarge(self.to_half(quarter))).to(gray.dtype), self.feature_head(eighth).to(gray.dtype))


def enlarge(x: torch.Tensor) -> torch.Tensor:
    """Twice as large, bilinearly; samples stay at the middle of what they stand for."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class LightPatchDescriptor(nn.Module):
    """Describes log-polar patches. Turning a patch by eighths of the circle does not change its descriptor, by other angles hardly.

    Convolutions go round the circle; the first harmonics over the angle are then taken, turned back and joined with their sizes.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.InstanceNorm2d(1)]
        for inputs, outputs, stride in zip((1, *WIDTHS), WIDTHS, (1, 2, 1, 2, 1)):
            layers += [CircularRows(), *convolution(inputs, outputs, (0, 1), stride=stride)]
        channels = WIDTHS[-1]
        self.layers = nn.Sequential(*layers, *convolution(channels, channels, 0, kernel=(1, RADII // 4), activation=False))
        self.direction = nn.Linear(2 * channels, 1, bias=False)
        self.projection = nn.Linear(channels * (3 * HARMONICS - 2), DESCRIPTORS["polar"])
        angle = 2 * math.pi / (ANGLES // 4) * torch.outer(torch.arange(HARMONICS), torch.arange(ANGLES // 4))
        self.register_buffer("waves", torch.cat([angle.cos(), -angle.sin()]) / (ANGLES // 4), persistent=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, 1, 32, 16) patches [angle, radius] to (N, 64), not normalised."""
        rows = self.layers(patches.to(dtype_of(self.layers))).flatten(2).to(patches.dtype)       # (N, 64, 8): by angle
        real, imaginary = (rows @ self.waves.t()).split(HARMONICS, dim=2)                        # (N, 64, 4) each
        cosine, sine = self._turns(real[..., 1], imaginary[..., 1])
        steered_real = real[..., 1:] * cosine + imaginary[..., 1:] * sine
        steered_imaginary = imaginary[..., 1:] * cosine - real[..., 1:] * sine
        size = (real[..., 1:].square() + imaginary[..., 1:].square() + 1e-6).sqrt()
        return self.projection(torch.cat([real[..., :1], steered_real, steered_imaginary, size], dim=2).flatten(1))

    def _turns(self, real: torch.Tensor, imaginary: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine (N, 1, 3) of one, two and three times the patch's direction, from the first harmonic (N, 64) of all channels.

        The direction is the angle of a weighted sum of complex numbers, so it turns with the patch.
        """
        weight, skew = self.direction.weight[0].split(real.shape[1])
        x = real @ weight - imaginary @ skew
        y = real @ skew + imaginary @ weight
        length = (x.square() + y.square() + 1e-8).sqrt()
        cosine, sine = [x / length], [y / length]
        for _ in range(2, HARMONICS):
            cosine.append(cosine[-1] * cosine[0] - sine[-1] * sine[0])
            sine.append(sine[-1] * cosine[0] + cosine[-2] * sine[0])
        return torch.stack(cosine, dim=1)[:, None], torch.stack(sine, dim=1)[:, None]


class PatchRows(nn.Module):
    """The layers of LightPatchDescriptor: patches (N, 1, 32, 16) to what they find by angle (N, 8, 64)."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.layers(patches).flatten(2).transpose(1, 2)


def log_polar_offsets() -> torch.Tensor:
    """(32, 16, 2) x and y offsets of the samples of a patch from its keypoint, pixels; [angle, radius]."""
    radius = LEAST_RADIUS * (MAX_RADIUS / LEAST_RADIUS) ** (torch.arange(RADII, dtype=torch.float64) / (RADII - 1))
    angle = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) * (2 * math.pi / ANGLES)
    angle, radius = torch.meshgrid(angle, radius, indexing="ij")
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)


class LightPatches(nn.Module):
    """Log-polar patches around keypoints. shape: of one, angles and radii."""

    shape = (ANGLES, RADII)
    near: torch.Tensor
    far: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        near, far = log_polar_offsets().float().split(RADII // 2, dim=1)
        self.register_buffer("near", near.reshape(-1, 2).t().contiguous(), persistent=False)
        self.register_buffer("far", far.reshape(-1, 2).t().contiguous(), persistent=False)

    def forward(self, gray: torch.Tensor, xy: torch.Tensor, read: Reader = sample_patches) -> torch.Tensor:
        """Patches (N, 1, 32, 16) of gray (1, 1, H, W) around pixels xy (N, 2). read: reads an image at positions, as sample_patches."""
        near = read(gray, xy[:, :, None] + self.near, RADII // 2)
        coarse = (xy[:, :, None] + self.far - (FAR_STEP - 1) / 2) / FAR_STEP
        return torch.cat([near, read(F.avg_pool2d(gray, FAR_STEP), coarse, RADII // 2)], dim=3)


def _filled_up(gray: torch.Tensor) -> torch.Tensor:
    """With the last row and column repeated until there is a MULTIPLE of them."""
    for axis in (2, 3):
        length = gray.shape[axis]
        if not torch.jit.is_tracing() and length % MULTIPLE == 0:
            continue
        places = torch.arange(length + -length % MULTIPLE, device=gray.device).clamp(max=length - 1)
        gray = gray.index_select(axis, places)      # a padding would lose the number of channels in an ONNX graph of free size
    return gray


class LightNetwork(Network):
    """All parts, used as network.DalfNetwork is. describe takes the same kinds of descriptors, of the same lengths."""

    architecture = ARCHITECTURE
    geometries = (ALIGNED,)
    backbone: LightBackbone
    patch_descriptor: LightPatchDescriptor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = LightBackbone()
        self.patch_descriptor = LightPatchDescriptor()
        self.patches = LightPatches()
        self.fusion = Fusion()

    def forward(self, gray: torch.Tensor, _tile_above: float = math.inf) -> tuple[torch.Tensor, torch.Tensor]:
        """gray: (B, 1, H, W). Returns heatmap (B, 1, H, W) and features (B, 64, h, w), an eighth of the size, rounded up to even numbers.

        Never in tiles: the inner maps are small.
        """
        height, width = gray.shape[-2:]
        heatmap, features = self.backbone(_filled_up(gray))
        return heatmap[..., :height, :width].contiguous(), features

    def describe(self, gray: torch.Tensor, features: torch.Tensor, xy: torch.Tensor, *, geometry: str = ALIGNED,
                 descriptor: str = "fused", chunk: int | None = None) -> torch.Tensor:
        if len(xy) == 0:
            return gray.new_zeros((0, DESCRIPTORS[descriptor]))
        if descriptor != "polar":
            at = image_to_features(xy, (gray.shape[-1], gray.shape[-2]), geometry)
            backbone = sample_map(features, at, mode="bicubic", padding="border")
        if descriptor == "backbone":
            return F.normalize(backbone)
        polar = torch.cat([self.patch_descriptor(self.patches(gray, some)) for some in chunks(xy, LIGHTER * chunk if chunk else None)])
        return F.normalize(polar if descriptor == "polar" else self.fusion(polar, backbone))

    def to_half(self) -> None:
        self.patch_descriptor.layers.half()
