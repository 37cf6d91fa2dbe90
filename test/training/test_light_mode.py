"""Training the light network: what its teacher asks of it, and that runs of it go on bit for bit."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dalf_training import command
from dalf_training.checkpoint import RunFolder
from dalf_training.config import ConfigError, TrainingConfig, sheet_size
from dalf_training.data.difficulty import warp_range
from dalf_training.data.photo_cache import PhotoCache
from dalf_training.data.random_numbers import Share, seeded
from dalf_training.data.schedule import Difficulty
from dalf_training.data.views import Views, draw_warp, make_views
from dalf_training.distributed import World
from dalf_training.losses import teacher as teacher_module
from dalf_training.losses.keypoint_sampling import CELL, cell_maxima
from dalf_training.losses.teacher import KNEE, Teacher, taught_loss
from dalf_training.step import batch_loss
from dalf_training.trainer import DONE, Trainer

from dalf_core import DALF
from dalf_core.features.geometry import ALIGNED
from dalf_core.features.light_network import LightNetwork
from dalf_core.features.network import DalfNetwork
from dalf_core.weights import Weights, read_weights, save_weights

SIZE = (96, 80)
BIAS = 0.25
ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def views() -> Views:
    random = np.random.default_rng(0)
    width, height = sheet_size(SIZE)
    sheets = random.integers(0, 256, (4, height // 4, width // 4, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    difficulty = Difficulty(warp_range(1.0), 0.3, 1)
    warp = draw_warp(SIZE, difficulty, Share(seeded("cpu", 1), 3, 0, 3))
    return make_views(torch.from_numpy(sheets), warp, difficulty, Share(seeded("cpu", 2), 3, 0, 3))


class SlopeNetwork(DalfNetwork):
    """A teacher whose heatmap tells where it is read: a plane with another slope in each image."""

    geometries = (ALIGNED,)

    def forward(self, gray: torch.Tensor, _tile_above: float = 0) -> tuple[torch.Tensor, torch.Tensor]:
        y, x = torch.meshgrid(torch.arange(gray.shape[2]), torch.arange(gray.shape[3]), indexing="ij")
        return torch.stack([plane(torch.stack([x, y], dim=-1).float(), image) for image in range(len(gray))])[:, None], gray


def plane(xy: torch.Tensor, image: int) -> torch.Tensor:
    return xy[..., 0] + (image + 2) * xy[..., 1] - 100


@pytest.fixture
def slope(monkeypatch: pytest.MonkeyPatch) -> Teacher:
    loaded = Weights({}, ALIGNED, "slope", {}, keypoint_bias=BIAS)
    monkeypatch.setattr(teacher_module, "load_network", lambda _: (SlopeNetwork(), loaded))
    monkeypatch.setattr(teacher_module, "openvino_fault", lambda: "not wanted")
    return Teacher("built-in", torch.device("cpu"))


def test_both_views_are_asked_for_what_a_shows(views: Views, slope: Teacher) -> None:
    wanted, known = slope.answers(views, 2)
    assert wanted.shape == known.shape == (4, 1, SIZE[1], SIZE[0])
    assert known[:2].all() and 0.2 < known[2:].float().mean() < 1
    y, x = torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).float().reshape(1, -1, 2)
    in_a, shown = views.to_a(pixels.expand(3, -1, -1))
    for pair in range(2):
        agree = (shown[pair] == known[2 + pair].flatten()).float().mean()
        assert agree > 0.995             # dense_positions is off by some thousandths of a pixel
        for index, places, usable in ((pair, pixels[0], shown.new_ones(len(in_a[0]))), (2 + pair, in_a[pair], shown[pair])):
            inside = usable & known[index].flatten() & ((places > 1) & (places < torch.tensor(SIZE) - 3)).all(dim=-1)
            expected = torch.asinh(plane(places + BIAS, pair) / KNEE)[inside]
            assert inside.sum() > 500
            assert (wanted[index].flatten()[inside] - expected).abs().max() < 0.02      # the knee is not straight between samples


def test_taught_loss() -> None:
    generator = seeded("cpu", 3)
    heatmap, wanted = (torch.rand(4, 1, 20, 24, generator=generator) for _ in range(2))
    known = torch.rand(4, 1, 20, 24, generator=generator) < 0.6
    known[:2] = True
    inner = (slice(None), slice(8, 12), slice(8, 16))
    variance = float(np.var(np.concatenate([wanted[n][inner][known[n][inner]].numpy() for n in range(4)]), ddof=1))
    loss = taught_loss(heatmap, wanted, known, CELL)
    for pair in range(2):
        errors = [float(((heatmap - wanted)[n][inner][known[n][inner]] ** 2).mean()) for n in (pair, 2 + pair)]
        assert float(loss[pair]) == pytest.approx(sum(errors) / 2 / variance, rel=1e-4)


def test_cell_maxima() -> None:
    heatmap = torch.rand(2, 1, 37, 45, generator=seeded("cpu", 4))
    xy, usable = cell_maxima(heatmap, 6, (3, 1))
    assert xy.shape == (2, 4 * 5, 2)
    for image in range(2):
        for cell in range(20):
            left, top = 3 + cell % 5 * 8, 1 + cell // 5 * 8
            part = heatmap[image, 0, top:top + 8, left:left + 8]
            row, column = divmod(int(part.argmax()), 8)
            x, y = left + column, top + row
            assert xy[image, cell].tolist() == [x, y]
            assert bool(usable[image, cell]) == (6 <= x <= 38 and 6 <= y <= 30)


def test_step(views: Views, slope: Teacher) -> None:
    """Detector and descriptors learn: all parts have a gradient, and a few steps lower the loss. Pairs beyond the share are not taught."""
    config = TrainingConfig(mode="light", pairs=3, negative_group=3, border=8, matches=40, crop_size=SIZE, descriptor_weight=1,
                            taught_share=0.5)
    torch.manual_seed(0)
    network = LightNetwork().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        outcome = batch_loss(network, views, config, 0.5, seeded("cpu", 5), (2, 5), None, slope)
        optimizer.zero_grad()
        outcome.loss.backward()
        losses.append(float(outcome.loss.detach()))
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0, name
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
    first = batch_loss(network, views, replace(config, descriptor_weight=0), 0.5, seeded("cpu", 5), (2, 5), None, slope)
    wanted, known = slope.answers(views, 2)
    expected = taught_loss(torch.cat([first.heatmap[:2], first.heatmap[3:5]]), wanted, known, CELL).mean()
    assert float(first.loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    in_a, shown = views.to_a(first.b.xy)
    assert torch.equal(first.a.xy, in_a) and not (first.found.matched & ~shown).any() and first.found.matched.sum() > 60


def test_a_resumed_run_is_one_never_interrupted(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path, texture) -> None:
    config = replace(small_config, mode="light")
    saved = []
    for name, pieces in (("whole", (9,)), ("pieces", (1, 2, 9))):
        with RunFolder(tmp_path / name) as folder:
            for steps in pieces:
                torch.manual_seed(config.seed)
                trainer = Trainer(config, photos, folder, ALONE, LightNetwork())
                if folder.checkpoint.exists():
                    trainer.restore(folder.load())
                countdown = iter([False] * (steps - 1) + [True])
                state = trainer.run(lambda: next(countdown))        # noqa: B023
            assert state == DONE
            saved.append(folder.load())
    assert saved[0]["architecture"] == "light" and saved[0]["progress"] == saved[1]["progress"]
    assert all(torch.equal(value, saved[1]["network"][key]) for key, value in saved[0]["network"].items())
    loaded = read_weights(tmp_path / "whole" / "best.safetensors")
    assert loaded.architecture == "light" and loaded.geometry == ALIGNED and loaded.metadata["mode"] == "light"
    dalf = DALF(tmp_path / "whole" / "best.safetensors", "cpu", backend="pytorch")
    assert dalf.extract(texture(0, (96, 64))).descriptors.shape[1] == 128 and dalf.threshold == loaded.threshold


def test_settings_and_weights_that_do_not_fit(photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="mode light trains another network"):
        TrainingConfig(stages=({"mode": "ts1"}, {"mode": "light"}))
    with pytest.raises(ConfigError, match="taught_share must lie in"):
        TrainingConfig(taught_share=0)
    save_weights(DalfNetwork(), tmp_path / "start.safetensors")
    arguments = ["--images", str(photo_folder), "--output", str(tmp_path / "run"), "--mode", "light", "--cache", str(tmp_path / "cache")]
    small = ["--set", "photo_size=[144,96]", "--set", "crop_size=[96,64]", "--set", "device=cpu"]
    assert command.main([*arguments, *small, "--weights", str(tmp_path / "start.safetensors")]) == 2
    assert "is a network of kind 'ts-fl', the mode trains one of kind 'light'" in capsys.readouterr().err
    assert command.main([*arguments, *small, "--set", "teacher=/nowhere.pth"]) == 2
    assert "/nowhere.pth" in capsys.readouterr().err
