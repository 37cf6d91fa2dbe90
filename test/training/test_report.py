"""What a run shows in TensorBoard."""
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dalf_training.checkpoint import RunFolder
from dalf_training.config import TrainingConfig
from dalf_training.data.photo_cache import PhotoCache
from dalf_training.distributed import World
from dalf_training.trainer import Trainer

from dalf_core.features.network import DalfNetwork


def test_curves_and_pictures(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(small_config, steps=2, mode="end2end-fl", tensorboard=True, picture_every=1)
    torch.manual_seed(0)
    with RunFolder(tmp_path) as folder:
        Trainer(config, photos, folder, World(0, 1, torch.device("cpu")), DalfNetwork()).run()
    events = EventAccumulator(str(folder.tensorboard)).Reload()
    curves = set(events.Tags()["scalars"])
    assert {"training/loss", "training/matches", "validation/score", "validation/matching_score/hard"} <= curves
    assert [event.step for event in events.Scalars("training/loss")] == [1, 2]
    assert all(np.isfinite(event.value) for curve in curves for event in events.Scalars(curve))
    assert {"heatmap", "matches", "patches"} == set(events.Tags()["images"])
    pictures = {name: events.Images(name)[-1] for name in ("heatmap", "matches", "patches")}
    assert (pictures["matches"].width, pictures["matches"].height) == (192, 64) == (pictures["heatmap"].width, pictures["heatmap"].height)
    assert (pictures["patches"].width, pictures["patches"].height) == (2 * 16 * 34, 2 * 2 * 34)


def test_validation_and_saving_take_no_training_time(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by 2 s a step, 100 s a validation and 10 s a checkpoint: 2 pairs a step are 1 pair/s."""
    now = 0.0

    def slow(owner: object, name: str, seconds: float) -> None:
        original = getattr(owner, name)

        def slowly(*arguments):
            nonlocal now
            now += seconds
            return original(*arguments)

        monkeypatch.setattr(owner, name, slowly)

    monkeypatch.setattr("dalf_training.report.time.perf_counter", lambda: now)
    slow(Trainer, "_batch", 2)
    slow(Trainer, "_validate", 100)
    slow(RunFolder, "save", 10)
    with RunFolder(tmp_path) as folder:
        Trainer(small_config, photos, folder, World(0, 1, torch.device("cpu")), DalfNetwork()).run()
    speeds = [line["pairs_per_second"] for line in map(json.loads, folder.history.read_text().splitlines()) if "loss" in line]
    assert speeds == [1.0] * 4
