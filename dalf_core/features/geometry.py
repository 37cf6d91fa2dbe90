"""Where the samples of the network's maps lie in the image. Pixel centres at integers, x and y alike.

Pooling halves: sample i of a map pooled n times lies at pixel (2^n) i + (2^n - 1) / 2, whatever odd row or column was left over.
An unpadded 3x3 convolution loses one sample a side, so sample j of its output is sample j + 1 of its input.

"corrected" follows from that, for DALF. "aligned" is the same for the light network, whose convolutions are padded and whose heatmap has
the image's own pixels. "original" reads the maps as the official code does: as if each spanned the whole image corner
to corner, and the patches half a pixel up and left. It is kept for parity.
"""
from __future__ import annotations

from functools import cache

import torch

ORIGINAL, CORRECTED, ALIGNED = "original", "corrected", "aligned"
GEOMETRIES = (CORRECTED, ORIGINAL)                  # that DALF can be read with
PATCH_OFFSET = {ORIGINAL: -0.5, CORRECTED: 0.0}      # pixels added to where patches are read

_DECODER_LOSS = 2       # samples a side, at half resolution, lost to the decoder's two unpadded convolutions
_WARPER_LOSS = 1        # samples a side, at an eighth, lost to the warper's unpadded convolution


@cache      # none is ever freed: CUDA graphs read them where they lie
def _constant(values: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):       # training needs it, too
        return torch.tensor(values, dtype=dtype, device=device)


def constant(values: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """A small tensor of the type and device of another. It is kept, since copying one to a GPU makes the program wait for it."""
    if torch.jit.is_tracing():              # a graph for images of any size reads them from the image
        return torch.stack([torch.as_tensor(value) for value in values]).to(like)
    if torch.compiler.is_compiling():       # what is made while a graph is recorded is no value to keep
        return torch.tensor(values, dtype=like.dtype, device=like.device)
    return _constant(tuple(int(value) for value in values), like.dtype, like.device)


def heatmap_to_image(xy: torch.Tensor, image_size: tuple[int, int], geometry: str) -> torch.Tensor:
    """Heatmap positions (N, 2) to image pixels (N, 2). image_size: (width, height).

    The decoder's W//2 - 4 samples are stretched corner to corner over the W columns of the heatmap.
    """
    if geometry in (ORIGINAL, ALIGNED):
        return xy
    size = constant(image_size, xy)
    half = torch.div(size, 2, rounding_mode="floor")
    return 2 * (xy * (half - 2 * _DECODER_LOSS - 1) / (size - 1) + _DECODER_LOSS) + 0.5


def image_to_heatmap(xy: torch.Tensor, image_size: tuple[int, int], geometry: str) -> torch.Tensor:
    """The inverse of heatmap_to_image."""
    if geometry in (ORIGINAL, ALIGNED):
        return xy
    size = constant(image_size, xy)
    half = torch.div(size, 2, rounding_mode="floor")
    return ((xy - 0.5) / 2 - _DECODER_LOSS) * (size - 1) / (half - 2 * _DECODER_LOSS - 1)


def image_to_features(xy: torch.Tensor, image_size: tuple[int, int], geometry: str) -> torch.Tensor:
    """Image pixels (N, 2) to samples (N, 2) of the backbone's feature map, (H//8, W//8)."""
    if geometry in (CORRECTED, ALIGNED):
        return (xy - 3.5) / 8
    size = constant(image_size, xy)
    return xy * (torch.div(size, 8, rounding_mode="floor") - 1) / (size - 1)


def image_to_warper(xy: torch.Tensor, image_size: tuple[int, int], geometry: str) -> torch.Tensor:
    """Image pixels (N, 2) to samples (N, 2) of the warper's parameter map, (H//8 - 2, W//8 - 2)."""
    if geometry == CORRECTED:
        return (xy - 3.5) / 8 - _WARPER_LOSS
    size = constant(image_size, xy)
    return xy * (torch.div(size, 8, rounding_mode="floor") - 2 * _WARPER_LOSS - 1) / (size - 1)
