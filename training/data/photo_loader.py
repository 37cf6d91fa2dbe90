"""Batches of photos and warps, made ready by threads while the network learns. What a batch holds depends on seed and number alone."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from ..config import TrainingConfig, sheet_size
from .photo_cache import PhotoCache
from .random_numbers import Share, seeded
from .schedule import Difficulty, draw_difficulty
from .views import cut_sheet, draw_warp
from .warps import Warp

# what the numbers after a seed stand for
ORDER, BATCH, SHEET, WARP, VIEW = range(5)


@dataclass(frozen=True)
class PhotoBatch:
    """One batch, or a process's share of it. number: of the batch, in its stage. sheets: (B + 1, H, W, 3) uint8, the last one belongs to
    the next batch or share. warp: draw_warp's. Both on the device. rows: the share, start and stop.
    """

    number: int
    sheets: torch.Tensor
    warp: Warp
    difficulty: Difficulty
    rows: tuple[int, int]


class PhotoLoader:
    """Iterates over the batches of a stage from number `first` on. Close it, or use it in a `with` block, to end its threads:
    config.prefetch of them, each at work on one batch.

    indices: the photos to take, in a new order every time all were seen. rank, processes: which share of each batch is wanted.
    """

    def __init__(self, cache: PhotoCache, indices: np.ndarray, config: TrainingConfig, stage: int, first: int, device: torch.device,
                 rank: int = 0, processes: int = 1) -> None:
        self._cache, self._indices, self._config, self._stage, self._device = cache, indices, config, stage, device
        part = config.pairs // processes
        self._rows = (rank * part, (rank + 1) * part)
        self._orders: dict[int, np.ndarray] = {}        # of the photos, by how often all were seen before; the last two
        self._numbers = iter(range(first, config.steps * config.accumulate))
        on_gpu = device.type == "cuda"          # a thread begins with the first GPU, on which it would pin its memory
        self._pool = ThreadPoolExecutor(config.prefetch, "photos", *((torch.cuda.set_device, (device,)) if on_gpu else ()))
        self._ahead: deque[Future[PhotoBatch]] = deque()
        for _ in range(config.prefetch):
            self._begin_next()

    def __iter__(self) -> Iterator[PhotoBatch]:
        while self._ahead:
            batch = self._ahead.popleft().result()
            self._begin_next()
            yield batch

    def __enter__(self) -> PhotoLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _begin_next(self) -> None:
        if (number := next(self._numbers, None)) is not None:
            self._ahead.append(self._pool.submit(self.batch, number))

    def batch(self, number: int) -> PhotoBatch:
        """The batch of this number."""
        config, (start, stop) = self._config, self._rows
        progress = number / (config.steps * config.accumulate)
        difficulty = draw_difficulty(config, progress, np.random.default_rng([config.seed, self._stage, BATCH, number]))
        first = number * config.pairs
        sheets = torch.from_numpy(np.stack([self._sheet(first + row) for row in range(start, stop + 1)]))
        share = Share(seeded("cpu", config.seed, self._stage, WARP, number), config.pairs, start, stop)
        warp = draw_warp(config.crop_size, difficulty, share)
        if self._device.type == "cuda":
            sheets = sheets.pin_memory()
        sheets, warp = (part.to(self._device, non_blocking=True) for part in (sheets, warp))
        return PhotoBatch(number, sheets, warp, difficulty, (start, stop))

    def _sheet(self, sample: int) -> np.ndarray:
        """Cut from the photo that comes at a place in the endless order of photos."""
        photo = self._cache.pixels[self._indices[self._position(sample)]]
        random = np.random.default_rng([self._config.seed, self._stage, SHEET, sample])
        return cut_sheet(photo, sheet_size(self._config.crop_size), random)

    def _position(self, sample: int) -> int:
        """Which of the indices comes at a place in the endless order of photos."""
        turn, place = divmod(sample, len(self._indices))
        order = self._orders.get(turn)
        if order is None:
            order = np.random.default_rng([self._config.seed, self._stage, ORDER, turn]).permutation(len(self._indices))
            self._orders = {**{old: kept for old, kept in self._orders.items() if old == turn - 1}, turn: order}
        return int(order[place])
