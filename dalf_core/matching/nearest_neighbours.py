"""Matching descriptors: mutual nearest neighbours, with optional bounds."""
from __future__ import annotations

import numpy as np
import torch

from ..torch_device import gpu_work
from ..types import Features, Matches

ELEMENTS_AT_ONCE = 1 << 23      # similarities held in memory at once: 32 MiB


def match(reference: Features, query: Features, *, ratio: float | None = None, max_distance: float | None = None,
          predicted: np.ndarray | None = None, radius: float | None = None) -> Matches:
    """Mutual nearest neighbours of two images' descriptors, nearest first; equal distances keep the reference's order.

    ratio: keep a pair only if its distance is below ratio times the distance to the reference keypoint's second nearest (0 to 1).
    max_distance: keep a pair only if its L2 distance is at most this (0 to 2). Either side may be empty.
    predicted: (N, 2) pixels of the query image, where each reference keypoint is expected. Only query keypoints within `radius` pixels
    of that place are looked at, from both sides; everywhere, where it is NaN.
    ValueError: descriptors of different lengths, or bounds out of range. Works on the GPU that made the descriptors, if it was one.
    """
    _check(reference, query, ratio, max_distance)
    expected = _check_predicted(reference, predicted, radius)
    if len(reference) == 0 or len(query) == 0:
        return _matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    with gpu_work(torch.device("cpu") if query.on_device is None else query.on_device.device):
        ours, theirs = _tensors(reference, query)
        search = None if expected is None else (expected.to(ours), torch.from_numpy(query.keypoints).to(ours), float(radius or 0))
        forward, backward, best, second = _nearest(ours, theirs, search)
    rows = np.flatnonzero((backward[forward] == np.arange(len(forward))) & np.isfinite(best))
    distance, second = _distance(best[rows]), _distance(second[rows])
    keep = np.ones(len(rows), bool)
    if ratio is not None:
        keep &= distance < ratio * second
    if max_distance is not None:
        keep &= distance <= max_distance
    rows, distance = rows[keep], distance[keep]
    order = np.argsort(distance, kind="stable")
    return _matches(rows[order], forward[rows[order]], distance[order])


def _tensors(reference: Features, query: Features) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sides' descriptors, on the GPU if the query's are there."""
    if query.on_device is not None:
        ours = torch.from_numpy(np.asarray(reference.descriptors)) if reference.on_device is None else reference.on_device
        return ours.to(query.on_device), query.on_device
    ours, theirs = (torch.from_numpy(np.ascontiguousarray(side.descriptors, np.float32)) for side in (reference, query))
    return ours, theirs


def _check(reference: Features, query: Features, ratio: float | None, max_distance: float | None) -> None:
    ours, theirs = reference.descriptors.shape, query.descriptors.shape
    if len(ours) != 2 or len(theirs) != 2 or (ours[1] != theirs[1] and len(reference) and len(query)):
        raise ValueError(f"descriptors must be (N, D) with one D, not {ours} and {theirs}; were they made by the same kind of extractor?")
    if len(reference) and len(query) and ours[1] == 0:
        raise ValueError("these Features hold no descriptors, so there is nothing to match")
    if ratio is not None and not 0 < ratio <= 1:
        raise ValueError(f"ratio must lie in (0, 1], not {ratio}")
    if max_distance is not None and not 0 <= max_distance <= 2:
        raise ValueError(f"max_distance must lie in 0 to 2, not {max_distance}")


def _check_predicted(reference: Features, predicted: np.ndarray | None, radius: float | None) -> torch.Tensor | None:
    if (predicted is None) != (radius is None):
        raise ValueError("predicted and radius belong together: give both or none")
    if predicted is None or radius is None:
        return None
    if np.shape(predicted) != (len(reference), 2):
        raise ValueError(f"predicted must be ({len(reference)}, 2), a place for each reference keypoint, not {np.shape(predicted)}")
    if not radius > 0:
        raise ValueError(f"radius must be positive, not {radius}")
    return torch.from_numpy(np.ascontiguousarray(predicted, np.float32))


def _matches(reference_index: np.ndarray, query_index: np.ndarray, distance: np.ndarray) -> Matches:
    return Matches(reference_index.astype(np.int64), query_index.astype(np.int64), distance.astype(np.float32),
                   np.ones(len(reference_index), bool))


def _distance(similarity: np.ndarray) -> np.ndarray:
    """L2 distance of unit vectors from their dot product; infinite where there was no second neighbour."""
    return np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0))


def _nearest(reference: torch.Tensor, query: torch.Tensor, search: tuple[torch.Tensor, torch.Tensor, float] | None = None
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nearest query of each reference row, nearest reference of each query row, and the two best similarities of each reference row.

    search: predicted places (N, 2), query keypoints (K, 2) and the radius around the former in which the latter may lie.
    A row without any candidate has the best similarity -inf.
    """
    rows = max(1, ELEMENTS_AT_ONCE // len(query))
    second_best = 2 if len(query) > 1 else 1
    forward, best, second = [], [], []
    column_value = torch.full((len(query),), -torch.inf, device=query.device)
    column_index = torch.zeros(len(query), dtype=torch.long, device=query.device)
    for start in range(0, len(reference), rows):
        similarity = reference[start:start + rows] @ query.t()
        if search:
            places, keypoints, radius = search
            apart = torch.cdist(places[start:start + rows], keypoints, compute_mode="donot_use_mm_for_euclid_dist")
            similarity[apart > radius] = -torch.inf
        values, indices = similarity.topk(second_best, dim=1)
        forward.append(indices[:, 0])
        best.append(values[:, 0])
        second.append(values[:, 1] if second_best == 2 else torch.full_like(values[:, 0], -torch.inf))
        value, index = similarity.t().contiguous().max(dim=1)       # on the CPU twice as fast as along the other dimension
        better = value > column_value
        column_value = torch.where(better, value, column_value)
        column_index = torch.where(better, index + start, column_index)
    return torch.cat(forward).cpu().numpy(), column_index.cpu().numpy(), torch.cat(best).cpu().numpy(), torch.cat(second).cpu().numpy()
