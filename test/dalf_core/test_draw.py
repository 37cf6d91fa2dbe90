"""Pictures show what they are given."""
from __future__ import annotations

import numpy as np

from dalf_core.draw import DROPPED, draw_heatmap, draw_keypoints, draw_matches, flow_colors

from .feature_fixtures import as_features, identity_matches


def test_flow_colours_group_what_moves_together():
    start = np.zeros((40, 2))
    colors = flow_colors(start, np.repeat([[50.0, 0.0], [-50.0, 0.0]], 20, axis=0)).astype(int)
    assert (colors[:20] == colors[0]).all() and (colors[20:] == colors[20]).all() and np.abs(colors[0] - colors[20]).sum() > 100
    assert flow_colors(start[:0], start[:0]).shape == (0, 3)


def test_matches_are_drawn_from_left_to_right_and_dropped_ones_grey():
    left, right = np.full((60, 80, 3), 255, np.uint8), np.full((90, 100), 255, np.uint8)
    reference, query = as_features(np.array([[20.0, 10.0], [20.0, 50.0]])), as_features(np.array([[60.0, 10.0], [60.0, 50.0]]))
    picture = draw_matches(left, right, reference, query, identity_matches(2), np.array([True, False]))
    assert picture.shape == (90, 180, 3) and picture.dtype == np.uint8
    assert np.ptp(picture[50, 100]) == 0 and np.abs(picture[50, 100].astype(int) - DROPPED).max() < 80
    assert np.ptp(picture[10, 100].astype(int)) > 50 and (picture[10, 5] == 255).all() and (picture[80, 40] == 0).all()
    assert (left == 255).all()


def test_keypoints_and_heatmap():
    image = np.zeros((50, 60, 3), np.float32)
    picture = draw_keypoints(image, as_features(np.array([[30.0, 20.0]])))
    assert picture.shape == (50, 60, 3) and picture[20, 30].any() and not picture[40, 50].any()
    assert draw_keypoints(image, as_features(np.zeros((0, 2)))).shape == (50, 60, 3)
    heatmap = np.full((50, 60), -3.0, np.float32)
    heatmap[10, 10] = 40
    overlay = draw_heatmap(image, heatmap)
    assert overlay[10, 10].sum() > overlay[30, 30].sum() + 100
