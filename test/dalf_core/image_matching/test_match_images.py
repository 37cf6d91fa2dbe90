"""The whole matcher on pictures whose true map is known, with an extractor that needs no weights; and with DALF on a real pair."""
from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dalf_core import match_images
from dalf_core.image_registration.image_warp import fit_image_warp
from dalf_core.matching.verification import MIN_VERIFIED
from dalf_core.types import Features

from ..feature_fixtures import textured
from .patches import SIZE, PatchExtractor, turned

A = textured(*SIZE)


def errors(found, back) -> np.ndarray:
    """Pixels of A, of the verified matches."""
    return np.linalg.norm(back(found.points_b) - found.points_a, axis=1)


def test_a_second_look_finds_more_and_places_it_as_well() -> None:
    b, back = turned(A, 14)
    extractor = PatchExtractor()
    one, two = (match_images(A, b, dalf=extractor, passes=passes, align=False) for passes in (1, 2))
    assert len(extractor.asked) == 2 + 3                    # A's features are used again
    assert one.passes == 1 and two.passes == 2 and two.verified_first == one.verified >= MIN_VERIFIED
    assert two.verified > 1.3 * one.verified
    assert np.median(errors(two, back)) < 0.25 and (errors(two, back) < 1.5).mean() > 0.97
    assert np.median(errors(two, back)) <= 1.05 * np.median(errors(one, back))
    off = back(two.b.keypoints[two.matches.query_index]) - two.a.keypoints[two.matches.reference_index]
    assert np.linalg.norm(off, axis=1)[~two.matches.inlier].max() < 0.035 * np.hypot(*SIZE) + 2     # farther off the map is no match
    assert two.b.image_size == SIZE and len(two.b.keypoints) == len(two.b.descriptors) == len(two.b.scores) == len(two.b.scales)
    assert len(np.unique(two.matches.reference_index)) == len(np.unique(two.matches.query_index)) == len(two.matches)
    assert (np.diff(two.matches.distance) >= 0).all()


def test_auto_looks_again_only_where_patches_look_different() -> None:
    extractor = PatchExtractor()
    shifted = np.roll(A, (5, 9), axis=(0, 1))
    mild = match_images(A, shifted, dalf=extractor)
    assert mild.passes == 1 and len(extractor.asked) == 2 and "alike already" in mild.reason and mild.verified > 200
    asked = match_images(A, shifted, dalf=extractor, passes=2)
    assert len(extractor.asked) == 2 + 3 and asked.verified >= mild.verified            # looked again all the same
    assert match_images(A, turned(A, 14)[0], dalf=extractor).passes == 2


def test_a_third_look_where_the_second_corrects_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a map that is crude patches still look different."""
    b, back = turned(A, 14)
    fitted = []

    def crude(template_xy, image_xy, *arguments, **options):
        """The first map turns ten degrees too far."""
        fitted.append(len(template_xy))
        if fitted[-1] == fitted[0]:
            turn, middle = cv2.getRotationMatrix2D((0, 0), -10, 1)[:, :2], np.array(SIZE) / 2
            image_xy = (image_xy - middle) @ turn.T + middle
        return fit_image_warp(template_xy, image_xy, *arguments, **options)

    extractor = PatchExtractor()
    with monkeypatch.context() as patch:
        patch.setattr("dalf_core.image_matching.second_look.fit_image_warp", crude)
        found = match_images(A, b, dalf=extractor)
    right = match_images(A, b, dalf=PatchExtractor())
    assert found.passes == 3 and len(extractor.asked) == 4 and right.passes == 2
    assert found.verified > 0.97 * right.verified and np.median(errors(found, back)) < 0.25
    assert "turned by" in found.reason


def test_features_are_taken_as_they_are() -> None:
    b, _ = turned(A, 14)
    extractor = PatchExtractor()
    a_features, b_features = extractor.extract(A), extractor.extract(b)
    extractor.asked.clear()
    found = match_images(a_features, b, dalf=extractor, features_b=b_features)
    assert found.a is a_features and len(extractor.asked) == 1 and found.passes == 2
    again = match_images(A, b, dalf=extractor, align=False)
    assert np.array_equal(found.matches.reference_index, again.matches.reference_index)


@pytest.mark.parametrize("passes", [1, 2])
def test_pictures_that_share_nothing_have_no_matches_and_no_second_look(passes: int) -> None:
    extractor = PatchExtractor()
    pictures = [textured(*SIZE, seed=seed) for seed in range(6)]
    for number, a in enumerate(pictures):
        extractor.asked.clear()
        found = match_images(a, pictures[(number + 1) % 6], dalf=extractor, passes=passes)
        assert found.verified < MIN_VERIFIED and found.passes == 1 and len(extractor.asked) == 2


def test_few_verified_matches_get_no_second_look() -> None:
    """A patch of A in another picture: what is found there is too little to make a map of."""
    b = textured(*SIZE, seed=5)
    b[90:150, 90:160] = A[90:150, 90:160]
    extractor = PatchExtractor()
    found = match_images(A, b, dalf=extractor, passes=2)
    assert 0 < found.verified < MIN_VERIFIED and found.passes == 1 and "too few" in found.reason and len(extractor.asked) == 2


class Misled(PatchExtractor):
    """Whose third picture, the one behind the map, shows something else: as if the map were wrong."""

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        features = super().extract(image, mask)
        return super().extract(textured(*SIZE, seed=9)) if len(self.asked) == 3 else features


def test_a_wrong_map_is_found_out() -> None:
    b, back = turned(A, 14)
    found, plain = match_images(A, b, dalf=Misled(), passes=2), match_images(A, b, dalf=PatchExtractor(), passes=1)
    assert found.passes == 1 and "not borne out" in found.reason
    assert found.verified == plain.verified and np.array_equal(found.b.keypoints, plain.b.keypoints)


def test_pictures_of_different_size_and_kind() -> None:
    b, back = turned(A, 12)
    scaled = cv2.resize(b, None, fx=1.25, fy=1.25, interpolation=cv2.INTER_CUBIC)
    found = match_images(cv2.cvtColor(A, cv2.COLOR_BGR2GRAY), scaled, dalf=PatchExtractor(), passes=2)
    assert found.passes == 2 and found.b.image_size == (400, 300)
    points = replace(found.b, keypoints=((found.b.keypoints + 0.5) / 1.25 - 0.5).astype(np.float32))
    assert np.median(errors(replace(found, b=points), back)) < 0.3


@pytest.mark.parametrize("change, words", [
    ({"passes": 3}, "passes must be one of auto, 1, 2"),
    ({"passes": True}, "passes must be one of"),
    ({"b": np.full((240, 320, 3), 7, np.uint8)}, "picture b: image is constant"),
    ({"a": np.full((240, 320, 3), 7, np.uint8)}, "picture a: image is constant"),
    ({"features_b": Features(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 361), np.float32), (64, 48))},
     "image of 64x48 pixels, but the picture is of shape"),
])
def test_bad_input_is_one_clear_error(change: dict, words: str) -> None:
    arguments = {"a": A, "b": A, "dalf": PatchExtractor(), **change}
    with pytest.raises(ValueError, match=words):
        match_images(arguments.pop("a"), arguments.pop("b"), **arguments)


def test_a_picture_too_large_to_unwarp_keeps_its_first_matches() -> None:
    """OpenCV counts pixels of a resampled picture in 16 bits."""
    extractor = PatchExtractor()
    b, _ = turned(A, 14)
    wide = np.zeros((240, 33000, 3), np.uint8)
    wide[:, :320] = b
    features = replace(extractor.extract(b), image_size=(33000, 240))
    found = match_images(A, wide, dalf=extractor, passes=2, features_b=features)
    assert found.passes == 1 and "larger than" in found.reason and found.verified >= MIN_VERIFIED


def test_tiny_pictures_are_refused_by_name(data_folder) -> None:
    with pytest.raises(ValueError, match="picture b: image must be at least 32x32"):
        match_images(textured(64, 48), textured(20, 20), dalf=_dalf(64))


def test_real_pair(data_folder) -> None:
    """Two photographs of a print, one bent and turned by 120 degrees."""
    a, b = (cv2.imread(str(data_folder / "dalf" / f"kanagawa_{number}.png")) for number in (1, 2))
    found = match_images(a, b, dalf=_dalf(600))
    assert found.passes == 2 and found.verified > 1.15 * found.verified_first > 200
    assert "turned by 1" in found.reason


def _dalf(top_k: int):
    from dalf_core import DALF

    return DALF(device="cpu", top_k=top_k)
