"""What a run shows in TensorBoard."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dalf_training.checkpoint import RunFolder
from dalf_training.config import TrainingConfig
from dalf_training.distributed import World
from dalf_training.photo_cache import PhotoCache
from dalf_training.trainer import Trainer

from dalf_core.network import DalfNetwork


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
