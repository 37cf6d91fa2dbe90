"""Statistics of features, as LeRobot normalises by them."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)


def statistics(values: np.ndarray) -> dict[str, list]:
    """min, max, mean, std, count and quantiles of (T,) or (T, N), each a list of one number a column."""
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    found = {"min": values.min(axis=0), "max": values.max(axis=0), "mean": values.mean(axis=0), "std": values.std(axis=0)}
    quantiles = np.quantile(values, QUANTILES, axis=0)
    found |= {f"q{round(100 * share):02d}": row for share, row in zip(QUANTILES, quantiles)}
    return {name: row.tolist() for name, row in found.items()} | {"count": [len(values)]}


def image_statistics(images: Sequence[np.ndarray]) -> dict[str, list]:
    """The same of pictures, uint8 BGR over 255 as RGB, uint16 as it is; (C, 1, 1) nested lists."""
    if images[0].ndim == 3:
        pixels = np.concatenate([image[..., ::-1].reshape(-1, 3) for image in images]) / 255.0
    else:
        pixels = np.concatenate([image.reshape(-1, 1) for image in images]).astype(float)
    return {name: row if name == "count" else [[[value]] for value in row] for name, row in statistics(pixels).items()} | {
        "count": [len(images)]}
