"""Pictures that show the same thing twice: tiled textures. No local descriptor can tell two copies apart."""
from __future__ import annotations

import cv2
import numpy as np

SIZE = (320, 240)           # at which pictures are compared with themselves
DETAIL = 4.0                # standard deviation, pixels: coarser structure is taken off
NEAREST = 16                # pixels: a smaller shift is the picture itself
LEAST_OVERLAP = 0.15        # of the picture, and of its detail
LEAST_DETAIL = 1e-3         # mean square of the detail: less is rounding
REPEATS = 0.6               # correlation with itself; photos reach 0.5, tiled textures 0.8 and more


def repeats_itself(image: np.ndarray) -> bool:
    """Whether a picture (HxW or HxWx3 uint8), shifted by some amount, equals itself."""
    return self_correlation(image) > REPEATS


def self_correlation(image: np.ndarray) -> float:
    """The highest correlation coefficient of the fine detail with itself under a shift, over what overlaps; 0 for a picture without any."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    detail = _evened(cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32))
    everywhere = np.ones_like(detail)
    own = _correlate(detail, detail)
    if own.flat[0] < LEAST_DETAIL * detail.size:
        return 0.0
    first, second = _correlate(detail * detail, everywhere), _correlate(everywhere, detail * detail)
    enough = (_correlate(everywhere, everywhere) > LEAST_OVERLAP * detail.size) & (np.minimum(first, second) > LEAST_OVERLAP * own.flat[0])
    enough &= _shift_lengths(own.shape) >= NEAREST
    return float((own[enough] / np.sqrt(first[enough] * second[enough])).max()) if enough.any() else 0.0


def _evened(grey: np.ndarray) -> np.ndarray:
    """Fine detail, brought to about the same strength everywhere, that one bright edge does not decide."""
    detail = grey - cv2.GaussianBlur(grey, (0, 0), DETAIL)
    return detail / (np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 2 * DETAIL)) + 2)


def _correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sums of a(x + shift) b(x) for every shift, negative ones from the end on."""
    size = (2 * a.shape[0], 2 * a.shape[1])
    return np.fft.irfft2(np.fft.rfft2(a, size) * np.fft.rfft2(b, size).conj(), size)


def _shift_lengths(shape: tuple[int, int]) -> np.ndarray:
    y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in shape)
    return np.hypot(y[:, None], x[None])
