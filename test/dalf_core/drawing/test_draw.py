"""Pictures show what they are given."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from dalf_core import DALF
from dalf_core.drawing.draw import MOST_LINES, OPACITY, _spread, beside, draw_keypoints, draw_matches, flow_colors
from dalf_core.drawing.draw_heatmap import RIM, draw_heatmap, heatmap_in_image
from dalf_core.drawing.palette import DROPPED
from dalf_core.features.geometry import heatmap_to_image
from dalf_core.features.network import DalfNetwork
from dalf_core.weights import save_weights

from ..feature_fixtures import as_features, identity_matches, textured


def test_flow_colours_group_what_moves_together():
    start = np.zeros((40, 2))
    colors = flow_colors(start, np.repeat([[50.0, 0.0], [-50.0, 0.0]], 20, axis=0)).astype(int)
    assert (colors[:20] == colors[0]).all() and (colors[20:] == colors[20]).all() and np.abs(colors[0] - colors[20]).sum() > 100
    assert flow_colors(start[:0], start[:0]).shape == (0, 3)
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 500, (41, 2))
    shift = flow_colors(start, start + (30, 40) + np.vstack([rng.normal(0, 0.3, (40, 2)), [[80.0, 0.0]]]))
    assert shift[:40].min() > 180 and shift[40].min() < 50


def test_matches_are_drawn_from_left_to_right_and_dropped_ones_grey():
    left, right = np.full((60, 80, 3), 255, np.uint8), np.full((90, 100), 255, np.uint8)
    reference, query = as_features(np.array([[20.0, 10.0], [20.0, 50.0]])), as_features(np.array([[60.0, 10.0], [60.0, 50.0]]))
    picture = draw_matches(left, right, reference, query, identity_matches(2), np.array([True, False]))
    assert picture.shape == (90, 180, 3) and picture.dtype == np.uint8
    assert np.ptp(picture[50, 100]) == 0 and np.abs(picture[50, 100].astype(int) - DROPPED).max() < 100      # half transparent
    assert picture[10, 100].min() > 120 and (picture[10, 5] == 255).all() and (picture[80, 40] == 0).all()
    assert (left == 255).all()


def test_keypoints():
    image = np.zeros((50, 60, 3), np.float32)
    picture = draw_keypoints(image, as_features(np.array([[30.0, 20.0]])))
    assert picture.shape == (50, 60, 3) and picture[20, 30].any() and not picture[40, 50].any()
    assert draw_keypoints(image, as_features(np.zeros((0, 2)))).shape == (50, 60, 3)


@pytest.mark.parametrize("geometry, bias", [("corrected", 0.0), ("corrected", 0.6), ("original", 0.0)])
def test_heatmap_lies_on_the_keypoints(geometry, bias):
    """Blobs at known places of the heatmap come out where their keypoints are."""
    width, height = 201, 150
    peaks = np.array([[12.0, 20.0], [100.0, 75.0], [170.0, 20.0], [188.0, 130.0]])
    y, x = np.mgrid[:height, :width]
    heatmap = sum(40 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in peaks).astype(np.float32) - 3
    expected = heatmap_to_image(torch.from_numpy(peaks), (width, height), geometry).numpy() - bias
    response = np.clip(heatmap_in_image(heatmap, geometry, bias), 0, None)
    for ex, ey in expected:
        near = response * (np.hypot(x - ex, y - ey) < 10)
        assert [(near * x).sum() / near.sum(), (near * y).sum() / near.sum()] == pytest.approx([ex, ey], abs=0.15)
    overlay = draw_heatmap(np.zeros((height, width, 3), np.uint8), heatmap, geometry=geometry, keypoint_bias=bias)
    for ex, ey in np.rint(expected).astype(int):
        assert overlay[ey, ex].astype(int).sum() > overlay[75, 30].astype(int).sum() + 150
    with pytest.raises(ValueError, match="201x149"):
        draw_heatmap(np.zeros((149, 201), np.uint8), heatmap)


def test_heatmap_of_the_network_peaks_at_its_keypoints(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "random.safetensors"
    save_weights(DalfNetwork(), path)
    dalf = DALF(path, device="cpu", top_k=60, threshold=-1e9, backend="pytorch")
    image = textured(140, 100)
    heatmap = dalf.heatmap(image)
    response = heatmap_in_image(heatmap, dalf.geometry, dalf.keypoint_bias)
    features = dalf.extract(image)
    at_keypoints = cv2.remap(response, features.keypoints[:, :1], features.keypoints[:, 1:], cv2.INTER_LINEAR)[:, 0]
    lower = features.scores * heatmap.max() - at_keypoints
    assert np.abs(lower).max() < 0.3 * heatmap.std() and np.median(np.abs(lower)) < 0.05 * heatmap.std()


def test_the_rim_of_the_heatmap_is_no_bright_frame():
    """What the network answers to its padding does not show: a flat picture stays flat, and its border equals what lies inside."""
    heatmap = np.full((120, 160), 5.0, np.float32)
    heatmap[60, 80] = 50
    framed = heatmap.copy()
    framed[:RIM], framed[-RIM:], framed[:, :RIM], framed[:, -RIM:] = 400, 400, 400, 400
    picture = np.full((120, 160), 90, np.uint8)
    overlay = draw_heatmap(picture, framed)
    assert np.array_equal(overlay, draw_heatmap(picture, heatmap)) and overlay[60, 80].sum() > overlay[30, 30].sum() + 100
    rim = np.ones((120, 160), bool)
    rim[20:-20, 20:-20] = False
    assert (overlay[rim] == overlay[25, 25]).all()
    assert draw_heatmap(picture[:5, :5], heatmap[:5, :5]).shape == (5, 5, 3)


def test_pictures_beside_one_another():
    picture = beside(np.full((10, 5), 9, np.uint8), np.full((20, 7, 3), 200, np.uint8))
    assert picture.shape == (20, 12, 3) and (picture[:10, :5] == 9).all() and not picture[10:, :5].any() and (picture[:, 5:] == 200).all()


def test_lines_are_half_transparent_and_wider_in_large_pictures():
    for height, widths in ((100, [1]), (1440, range(3, 6))):
        gray = np.full((height, 200, 3), 200, np.uint8)
        pair = np.array([[20.0, 50.0]]), np.array([[120.0, 50.0]])
        column = draw_matches(gray, gray, *map(as_features, pair), identity_matches(1), np.array([False]))[40:61, 180, 0].astype(int)
        assert column[10] == pytest.approx(200 + OPACITY * (DROPPED[0] - 200), abs=15)
        assert np.count_nonzero(column < 150) in widths


def test_of_many_matches_some_get_a_line_all_a_dot():
    """The lines are spread over the picture: each of its quarters has its share."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(5, 195, (2000, 2))
    black = np.zeros((200, 200, 3), np.uint8)
    picture = draw_matches(black, black, as_features(xy), as_features(xy + (150.0, 0)), identity_matches(2000))
    for x, y in np.rint(xy).astype(int):
        assert picture[y, x].any()
    chosen = _spread(xy, np.ones(2000, bool))
    assert len(np.unique(chosen)) == MOST_LINES
    quarters = np.bincount((xy[chosen] > 100) @ [1, 2], minlength=4)
    assert quarters.min() > 0.8 * MOST_LINES / 4
    assert np.array_equal(_spread(xy, np.arange(2000) % 20 == 0), np.arange(0, 2000, 20))
