"""Warps: exact against rendered pictures, invertible, hidden strips known, reproducible."""
import math
from dataclasses import replace

import pytest
import torch
from dalf_training.data.bending import Bending, random_bending
from dalf_training.data.difficulty import LEVELS, WarpRange, warp_range
from dalf_training.data.folds import Folds
from dalf_training.data.rendering import pixel_grid, render, sample
from dalf_training.data.warps import Warp, inside, random_warp

SIZE = (160, 120)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(size: tuple[int, int] = SIZE, source_size: tuple[int, int] | None = None, folds: Folds | None = None) -> Warp:
    """Nothing moves, but for the folds."""
    warp = random_warp(1, size, 0.0, seeded(), source_size)
    return replace(warp, folds=folds or warp.folds)


def pleat(normal: tuple[float, float], offset: float, width: float, taper: float = 0.0) -> Folds:
    return Folds(torch.tensor([[normal]]), torch.tensor([[offset]]), torch.tensor([[width]]), torch.tensor([[taper]]))


def test_difficulty_zero_moves_nothing() -> None:
    grid = pixel_grid(SIZE, torch.zeros(1))
    assert (plain().source_positions(grid) - grid).abs().max() < 1e-4
    larger = plain(source_size=(320, 240)).source_positions(torch.tensor([[[-0.5, -0.5], [79.5, 59.5], [159.5, 119.5]]]))
    assert torch.allclose(larger, torch.tensor([[[-0.5, -0.5], [159.5, 119.5], [319.5, 239.5]]]), atol=1e-3)       # no half-pixel shift


def test_a_rendered_blob_is_where_the_map_says() -> None:
    """A blob drawn in A; its centre of mass in B is where find() says. Gentle curvature, which would move the centre of mass itself."""
    size = (320, 240)
    warp = random_warp(4, size, WarpRange(rotation=180, zoom=0.3, shift=0.1, tilt=10, bend=0.05), seeded(1)).to(dtype=torch.float64)
    at = torch.tensor([172.3, 103.8], dtype=torch.float64)
    grid = pixel_grid(size, at)
    blob = torch.exp(-0.5 * (grid - at).square().sum(-1) / 2.0 ** 2).reshape(1, 1, 240, 320)
    images = render(blob.expand(4, -1, -1, -1), None, warp)[0]
    found, visible = warp.find(at.expand(4, 1, 2))
    assert visible.all()
    centre = (images.flatten(2) @ grid) / images.sum(dim=(2, 3))[..., None]
    assert (centre - found).norm(dim=-1).max() < 0.02


def test_an_analytic_picture_is_read_where_the_map_says() -> None:
    """A picture that is linear in x (y) renders to the source's x (y): position errors show as grey values, one a pixel."""
    warp = random_warp(4, SIZE, 3.0, seeded(2)).to(dtype=torch.float64)
    grid = pixel_grid(SIZE, torch.zeros(1, dtype=torch.float64))
    picture = grid.reshape(1, SIZE[1], SIZE[0], 2).permute(0, 3, 1, 2).expand(4, -1, -1, -1)
    drawn = render(picture, None, warp, samples=1)[0].permute(0, 2, 3, 1).reshape(4, -1, 2)
    source = warp.source_positions(grid)
    within = inside(source, SIZE)
    assert within.float().mean() > 0.3
    assert (drawn - source)[within].abs().max() < 1e-6
    finer = render(picture, None, warp)[0].permute(0, 2, 3, 1).reshape(4, -1, 2)
    assert (finer - source)[within].abs().median() < 0.02           # four samples a pixel: no shift


@pytest.mark.parametrize("level", LEVELS)
def test_find_inverts_the_map(level: str) -> None:
    warp = random_warp(8, SIZE, LEVELS[level], seeded(3))
    xy = torch.rand(8, 500, 2, generator=seeded(4)) * torch.tensor([159.0, 119.0])
    source = warp.source_positions(xy)
    shown = inside(source, SIZE)
    found, visible = warp.find(source)
    assert shown.float().mean() > 0.3
    assert (visible == shown)[shown].float().mean() > 0.999
    assert (found - xy)[visible].norm(dim=-1).max() < 0.02


def test_every_place_of_a_is_found_hidden_or_outside() -> None:
    """Completeness: where find() sees nothing, no pixel of B reads from there."""
    warp = random_warp(3, SIZE, 3.0, seeded(5)).to(dtype=torch.float64)
    xy = pixel_grid(SIZE, warp.homography)[:, ::29].expand(3, -1, -1)
    _, visible = warp.find(xy)
    inner = warp.source_positions(pixel_grid(SIZE, warp.homography))
    nearest = torch.cdist(xy, inner).amin(dim=2)
    assert nearest[~visible].numel() > 100
    assert (nearest[visible] < 3.0).all()
    assert (nearest[~visible] < 0.02).float().mean() < 0.01


def test_bending_never_overlaps() -> None:
    bending = random_bending((1.0, 0.75), (8, 6), torch.full((16,), 0.8), seeded(6))
    points = (torch.rand(1, 2000, 2, generator=seeded(7)) * 2 - 1) * torch.tensor([1.0, 0.75])
    derivative = bending.derivative(points)
    assert torch.linalg.matrix_norm(derivative, ord=2).max() < 0.83
    assert (torch.linalg.det(derivative + torch.eye(2)) > 0).all()
    with pytest.raises(ValueError, match="overlap"):
        random_bending((1.0, 0.75), (8, 6), torch.tensor([1.2]), seeded())


def test_bending_interpolates_and_its_derivative_is_right() -> None:
    bending = random_bending((1.0, 0.75), (8, 6), torch.tensor([0.5, 0.3]), seeded(8))
    double = Bending(bending.control.double(), bending.coefficients.double(), bending.extent)
    points = torch.rand(1, 50, 2, generator=seeded(9), dtype=torch.float64) - 0.5
    step = 1e-6
    for axis in range(2):
        shift = torch.zeros(2, dtype=torch.float64)
        shift[axis] = step
        numeric = (double.apply(points + shift) - double.apply(points - shift)) / (2 * step)
        expected = double.derivative(points)[..., axis] + torch.eye(2, dtype=torch.float64)[axis]
        assert torch.allclose(numeric, expected, atol=1e-6)
    coefficients = double.coefficients      # side conditions of an interpolating spline: no net force, no net moment
    assert coefficients[:, :-3].sum(dim=1).abs().max() < 1e-5
    assert torch.einsum("ti,btj->bij", double.control, coefficients[:, :-3]).abs().max() < 1e-5


def test_a_pleat_hides_its_strip_and_nothing_else() -> None:
    """A vertical pleat in the middle, 0.2 half-widths = 16 px wide: 8 px on either side of it are gone."""
    warp = plain(folds=pleat((1.0, 0.0), 0.0, 0.2))
    x = torch.tensor([60.0, 71.0, 72.0, 79.0, 87.0, 88.0, 100.0])
    found, visible = warp.find(torch.stack([x, torch.full_like(x, 40.0)], dim=-1)[None])
    assert visible[0].tolist() == [True, True, False, False, False, True, True]
    assert torch.allclose(found[0, visible[0], 0], torch.tensor([68.0, 79.0, 80.0, 92.0]), atol=1e-3)
    beside = warp.source_positions(torch.tensor([[[79.49, 40.0], [79.51, 40.0]]]))
    assert torch.allclose(beside[0, :, 0], torch.tensor([71.49, 87.51]), atol=1e-3)


def test_a_tapered_pleat_ends() -> None:
    warp = plain(folds=pleat((1.0, 0.0), 0.0, 0.2, taper=2.0))          # no width where y <= -0.5 half-widths = pixel 19.5
    column = torch.tensor([[[79.6, 10.0], [79.6, 59.5], [79.6, 99.5]]])
    assert torch.allclose(warp.source_positions(column)[0, :, 0] - 79.6, torch.tensor([0.0, 8.0, 16.0]), atol=1e-3)


def test_folds_round_trip() -> None:
    warp = random_warp(16, SIZE, WarpRange(folds=3, fold_width=0.3), seeded(10))
    points = torch.rand(16, 300, 2, generator=seeded(11)) * 2 - 1
    back, hidden = warp.folds.fold(warp.folds.unfold(points))
    assert hidden.float().mean() < 1e-3
    assert (back - points)[~hidden].abs().max() < 1e-5
    assert warp.folds.fold(points)[1].float().mean() > 0.02


def test_rotation_has_the_sense_of_the_map() -> None:
    """A pure turn: B's middle stays, distances from it stay."""
    warp = random_warp(64, SIZE, WarpRange(rotation=180), seeded(12))
    middle = torch.tensor([[79.5, 59.5]])
    source = warp.source_positions(torch.cat([middle, middle + torch.tensor([[10.0, 0.0]])])[None])
    assert torch.allclose(source[:, 0], middle.expand(64, -1), atol=1e-3)
    arm = source[:, 1] - source[:, 0]
    assert torch.allclose(arm.norm(dim=-1), torch.full((64,), 10.0), atol=1e-3)
    angle = torch.atan2(arm[:, 1], arm[:, 0])
    assert angle.max() > 2.5 and angle.min() < -2.5 and angle.abs().min() < 0.5


def test_render_puts_the_background_where_a_is_not() -> None:
    warp = random_warp(2, SIZE, WarpRange(rotation=180, zoom=0.5), seeded(13))
    white, background = torch.ones(2, 3, 120, 160), torch.full((2, 3, 120, 160), 0.25)
    images, mask = render(white, background, warp)
    source = warp.source_positions(pixel_grid(SIZE, white)).reshape(2, 120, 160, 2)
    clear = (source - torch.tensor([79.5, 59.5])).abs() - torch.tensor([80.0, 60.0])
    within, beyond = (clear < -2).all(-1), (clear > 2).any(-1)
    assert mask[within].all() and not mask[beyond].any()
    assert torch.allclose(images.amin(1)[within], torch.tensor(1.0)) and torch.allclose(images.amax(1)[beyond], torch.tensor(0.25))
    with pytest.raises(ValueError, match="160x120"):
        render(white[:, :, :60], None, warp)


def test_sample_has_pixel_centres_at_integers() -> None:
    ramp = torch.arange(10.0).expand(1, 1, 8, 10)
    assert torch.allclose(sample(ramp, torch.tensor([[[[0.0, 0.0], [3.25, 4.0], [9.0, 7.0]]]])), torch.tensor([0.0, 3.25, 9.0]), atol=1e-5)


def test_the_same_seed_gives_the_same_warp() -> None:
    grid = pixel_grid(SIZE, torch.zeros(1))[:, ::50]
    first, again, other = (random_warp(3, SIZE, 2.0, seeded(seed)).source_positions(grid) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_difficulty() -> None:
    assert warp_range(0.0) == WarpRange()
    assert warp_range(1.5).rotation == pytest.approx((warp_range(1.0).rotation + warp_range(2.0).rotation) / 2)
    assert warp_range(3.0).rotation == 180 and warp_range(WarpRange(tilt=3)).tilt == 3
    assert math.isclose(warp_range(0.5).bend, warp_range(1.0).bend / 2)
    with pytest.raises(ValueError, match="difficulty"):
        warp_range(3.5)
