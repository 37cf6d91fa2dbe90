"""Training views: exact correspondence, nothing of the batch's division in them."""
import cv2
import numpy as np
import pytest
import torch
from dalf_training.config import sheet_size
from dalf_training.data.dense_positions import dense_positions
from dalf_training.data.difficulty import WarpRange, warp_range
from dalf_training.data.occluders import random_blobs
from dalf_training.data.random_numbers import Share, seeded
from dalf_training.data.rendering import sample
from dalf_training.data.schedule import Difficulty, draw_difficulty, value_at
from dalf_training.data.views import Views, cut_sheet, draw_warp, make_views
from dalf_training.data.warps import random_warp

SIZE = (160, 120)
SHEET = sheet_size(SIZE)


def views_of(sheets: np.ndarray, difficulty: Difficulty, start: int = 0, stop: int | None = None, total: int | None = None) -> Views:
    total = total or len(sheets) - 1
    stop = stop or total
    warp = draw_warp(SIZE, difficulty, Share(seeded("cpu", 1), total, start, stop))
    return make_views(torch.from_numpy(sheets[start:stop + 1]), warp, difficulty, Share(seeded("cpu", 2), total, start, stop))


def test_sheet_size() -> None:
    assert SHEET == (240, 180)
    assert sheet_size((101, 64)) == (151, 96)           # margins are whole pixels, alike on both sides


def test_what_b_shows_lies_in_a_where_the_views_say() -> None:
    """Pictures that are linear in x or in y: grey values are positions. Mixtures of equal channels do not change them."""
    y, x = np.mgrid[:SHEET[1], :SHEET[0]]
    sheets = np.stack([x, y, x, y, x])[..., None].repeat(3, axis=3).astype(np.uint8)
    views = views_of(sheets, Difficulty(warp_range(2.5), 0, 0))
    xy_b = torch.rand(4, 400, 2, generator=seeded("cpu", 3)) * torch.tensor([159.0, 119.0])
    xy_a, shown = views.to_a(xy_b)
    assert shown.float().mean() > 0.4
    value_a = sample(views.gray_a, xy_a[:, :, None])[:, 0, :, 0] * 255
    value_b = sample(views.gray_b, xy_b[:, :, None])[:, 0, :, 0] * 255
    error = (value_a - value_b)[shown].abs()
    assert error.median() < 0.02 and error.quantile(0.99) < 1        # but for creases of folds, where neighbouring pixels mix


def test_both_directions_agree() -> None:
    views = views_of(np.zeros((4, SHEET[1], SHEET[0], 3), np.uint8), Difficulty(warp_range(3.0), 1, 2))
    assert views.covered.any()
    xy_b = torch.rand(3, 300, 2, generator=seeded("cpu", 4)) * torch.tensor([159.0, 119.0])
    xy_a, shown = views.to_a(xy_b)
    back, seen = views.to_b(xy_a)
    assert (seen == shown)[shown].float().mean() > 0.99
    assert (back - xy_b)[shown & seen].norm(dim=-1).max() < 0.05
    column, row = xy_b.round().long().unbind(-1)
    covered = torch.stack([mask[y, x] for mask, y, x in zip(views.covered, row, column)])
    assert covered.any() and not shown[covered].any()


def test_unmoved_views_show_the_same() -> None:
    random = np.random.default_rng(0)
    sheets = random.integers(0, 256, (3, SHEET[1], SHEET[0], 1), dtype=np.uint8).repeat(3, axis=3)
    views = views_of(sheets, Difficulty(WarpRange(), 0, 0))
    middle = sheets[:2, 30:150, 40:200, 0] / 255
    assert np.abs(views.gray_a[:, 0].numpy() - middle).max() < 1e-5
    xy = torch.tensor([[[0.0, 0.0], [17.0, 81.0], [159.0, 119.0]]]).expand(2, -1, -1)
    assert (views.to_a(xy)[0] - xy).abs().max() < 1e-3
    smoothed = cv2.sepFilter2D(sheets[0, :, :, 0] / 255, -1, *[np.array([1, 6, 1]) / 8] * 2)[30:150, 40:200]      # by two samples a pixel
    assert np.abs(views.gray_b[0, 0].numpy() - smoothed).max() < 1e-3


def test_views_do_not_depend_on_the_division_of_the_batch() -> None:
    sheets = np.random.default_rng(1).integers(0, 256, (5, SHEET[1], SHEET[0], 3), dtype=np.uint8)
    difficulty = Difficulty(warp_range(3.0), 3, 2)
    whole = views_of(sheets, difficulty)
    parts = [views_of(sheets, difficulty, start, start + 2, 4) for start in (0, 2)]
    for name in ("gray_a", "gray_b", "covered"):
        assert torch.allclose(torch.cat([getattr(part, name) for part in parts]).float(), getattr(whole, name).float(), atol=1e-6)
    assert torch.equal(torch.cat([part.warp.homography for part in parts]), whole.warp.homography)


def test_dense_positions() -> None:
    warp = random_warp(4, SIZE, 2.0, seeded("cpu", 6)).to(dtype=torch.float64)
    y, x = torch.meshgrid((torch.arange(240) + 0.5) / 2 - 0.5, (torch.arange(320) + 0.5) / 2 - 0.5, indexing="ij")
    exact = warp.source_positions(torch.stack([x, y], dim=-1).reshape(1, -1, 2).double())
    error = (dense_positions(warp, 2).reshape(4, -1, 2) - exact).norm(dim=-1).flatten()
    assert error.median() < 0.003 and error.quantile(0.98) < 0.05
    smooth = random_warp(4, SIZE, WarpRange(rotation=90, tilt=30), seeded("cpu", 7)).to(dtype=torch.float64)
    exact = smooth.source_positions(torch.stack([x, y], dim=-1).reshape(1, -1, 2).double())
    assert (dense_positions(smooth, 2).reshape(4, -1, 2) - exact).abs().max() < 1e-6        # cubic convolution keeps straight lines


def test_cut_sheet(texture) -> None:
    photo = texture(0, (400, 300))
    sheets = [cut_sheet(photo, SHEET, np.random.default_rng(seed)) for seed in range(20)]
    assert {sheet.shape for sheet in sheets} == {(180, 240, 3)}
    assert all(np.array_equal(cut_sheet(photo, SHEET, np.random.default_rng(seed)), sheets[seed]) for seed in range(3))
    exact = cut_sheet(photo[:180, :240], SHEET, np.random.default_rng(0))         # no room: the photo, maybe mirrored
    assert np.array_equal(exact, photo[:180, :240]) or np.array_equal(exact[:, ::-1], photo[:180, :240])


def test_blobs() -> None:
    assert not random_blobs(3, SIZE, 0, seeded("cpu", 1), torch.device("cpu")).any()
    blobs = random_blobs(200, SIZE, 2, seeded("cpu", 1), torch.device("cpu"))
    assert blobs.shape == (200, 120, 160)
    none = (~blobs.flatten(1).any(dim=1)).float().mean()
    assert 0.2 < none < 0.5                             # none, one or two alike often; some lie outside
    assert 0.02 < blobs.float().mean() < 0.25


def test_schedule(small_config) -> None:
    assert value_at([[0, 1], [0.5, 3]], 0.25) == 2 and value_at([[0, 1], [0.5, 3]], 0.9) == 3 and value_at([[0.3, 5]], 0) == 5
    drawn = [draw_difficulty(small_config, 0.5, np.random.default_rng(seed)) for seed in range(300)]
    turns = np.array([one.warp.rotation for one in drawn])
    levels = np.array([one.light for one in drawn])
    assert turns.min() < 1 and 9 < turns.max() <= 10
    assert levels.min() == pytest.approx(0.09, abs=0.005) and levels.max() == pytest.approx(0.3, abs=0.005)
    assert drawn[0] == draw_difficulty(small_config, 0.5, np.random.default_rng(0))
