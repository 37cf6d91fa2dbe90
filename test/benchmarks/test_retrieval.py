"""The retrieval benchmark: its sets, its columns, its global descriptor, and a run on a tiny folder in VeRLab's layout."""
from pathlib import Path

import cv2
import numpy as np
import pytest

retrieval = pytest.importorskip("retrieval")
import retrieval_sets  # noqa: E402
import vlad  # noqa: E402
from retrieval import Answer  # noqa: E402
from retrieval_extractors import Kept, Sift  # noqa: E402

SIZE = (200, 160)


def texture(seed: int) -> np.ndarray:
    """(160, 200, 3) uint8, unlike that of another seed."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((5 * k, 6 * k, 3), np.float32), SIZE, interpolation=cv2.INTER_CUBIC) for k in (1, 2, 4, 8)]
    return cv2.normalize(sum(layers), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.fixture
def verlab(tmp_path: Path) -> tuple[Path, Path]:
    """Three objects in two datasets, each with two pictures of it turned a little; all of every picture is the object."""
    objects = {"Kinect1/shirt": 1, "Kinect1/flag": 2, "SimulationICCV/bag": 3}
    for name, seed in objects.items():
        images, truth = tmp_path / "images" / name, tmp_path / "truth" / name
        images.mkdir(parents=True)
        truth.mkdir(parents=True)
        cv2.imwrite(str(images / "cloud_master-rgb.png"), texture(seed))
        cv2.imwrite(str(truth / "cloud_master_objmask.png"), np.full(SIZE[::-1], 255, np.uint8))
        for number, degrees in ((1, 10), (2, -15)):
            turn = cv2.getRotationMatrix2D((100, 80), degrees, 1.0)
            cv2.imwrite(str(images / f"cloud_{number}-rgb.png"), cv2.warpAffine(texture(seed), turn, SIZE))
            for kind in ("objmask", "SSIM"):
                cv2.imwrite(str(truth / f"cloud_{number}_{kind}.png"), np.full(SIZE[::-1], 255, np.uint8))
            np.save(truth / f"cloud_{number}_theta.npy", np.zeros((7, 2)))
            np.save(truth / f"cloud_{number}_ctrlpts.npy", np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float))
    return tmp_path / "images", tmp_path / "truth"


def test_a_folder_in_verlabs_layout(verlab, capsys) -> None:
    at_rest, asked = retrieval_sets.verlab(*verlab)
    assert [picture.place for picture in at_rest] == ["Kinect1 flag", "Kinect1 shirt", "SimulationICCV bag"]
    assert [query.level for query in asked] == ["Kinect1"] * 4 + ["SimulationICCV"] * 2 and all(query.known for query in asked)
    np.testing.assert_array_equal(at_rest[1].image, texture(1))
    assert at_rest[0].mask.all()
    assert retrieval.main(["--verlab", *map(str, verlab), "--rows", "ours", "--weights", "light", "--top-k", "300"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:3] == ["ours,", "3", "templates"]
    # mAP, ranked first, recognised, false accepts; verified; no unknown ones; queries
    for line, queries in zip(lines[1:], ("4+0", "2+0")):
        assert line[1:5] == ["1.000", "1.000", "1.000", "0.000"] and int(line[5]) >= 30 and line[6:8] == ["none", queries]


def test_a_missing_truth_is_named(verlab, capsys) -> None:
    (verlab[1] / "Kinect1/flag/cloud_2_theta.npy").unlink()
    assert retrieval.main(["--verlab", *map(str, verlab), "--rows", "sift"]) == 2
    assert "cloud_2_theta.npy is missing" in capsys.readouterr().err


def test_columns_by_hand() -> None:
    """mAP is the mean of 1 / rank, 0 where the right one is no candidate; false accepts are a share of all queries."""
    answers = [Answer("easy", True, 1, True, True, 90, 5.0), Answer("easy", True, 4, False, False, 20, 6.0),
               Answer("easy", True, 0, True, False, 40, 7.0), Answer("easy", False, 0, False, False, 11, 8.0)]
    values = retrieval.table("ours", answers).splitlines()[1].split()
    assert values == ["easy", "0.417", "0.333", "0.333", "0.250", "40", "11", "3+1", "6"]


@pytest.mark.parametrize("count, parts, last", [(3, 1, (160, 200)), (5, 2, (160, 100)), (11, 4, (80, 100)), (48, 16, (40, 50))])
def test_fillers_are_whole_or_parts_that_tile_the_photo(count, parts, last, tmp_path, monkeypatch) -> None:
    """Parts are blown up to the photo's size: brought back, they are what stood there."""
    monkeypatch.setattr(retrieval_sets, "SIZE", SIZE)
    photos = []
    for seed in range(3):
        photos.append(tmp_path / f"{seed}.png")
        cv2.imwrite(str(photos[-1]), texture(seed))
    sets = retrieval_sets.Photos([], [], photos, [], place={"0.png": "a", "1.png": "b", "2.png": "b"})
    found = retrieval_sets.fillers(sets, count)
    assert len(found) == count == len({picture.name for picture in found}) and found[0].place == "a"
    assert all(picture.image.shape == (*SIZE[::-1], 3) for picture in found)
    height, width = last
    corner = found[parts - 1].image
    back = cv2.resize(corner, (width, height), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(back - texture(0)[-height:, -width:]).mean() < 4
    with pytest.raises(ValueError, match="48 at most"):
        retrieval_sets.fillers(sets, 49)


def test_vlad_by_its_formula() -> None:
    words = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], np.float32)
    found = vlad.encode(np.array([[3, 0], [0, 4], [10, 2]], np.float32), words)
    assert found == pytest.approx(np.array([0.6, 0.8, 0, 1, 0, 0]) / np.sqrt(2))       # each word's sum has length 1; none: 0
    assert not vlad.encode(np.zeros((0, 2), np.float32), words).any()


def test_words_are_the_centres_of_groups() -> None:
    centres = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32) * 10
    found = vlad.learn_words(np.repeat(centres, 50, axis=0), words=4)
    nearest = np.linalg.norm(found[:, None] - centres[None], axis=2)
    assert (nearest.min(axis=0) < 1e-4).all()
    with pytest.raises(ValueError, match="too few for 64"):
        vlad.learn_words(centres)


def test_a_library_by_vlad() -> None:
    sift = Sift(400)
    pictures = [retrieval_sets.Picture(f"{seed}", f"{seed}", texture(seed)) for seed in range(4)]
    words = vlad.learn_words(np.concatenate([sift.extract(texture(seed)).descriptors for seed in (7, 8)]), words=8)
    library = vlad.VladLibrary(sift, words)
    plain = retrieval_sets.Picture("plain", "plain", np.full((*SIZE[::-1], 3), 90, np.uint8))
    place = retrieval.filled(library, [pictures[0], plain, *pictures[1:]], Kept(sift, 400, None))
    assert place == {name: name for name in "0123"} and library.names == list("0123")
    features = sift.extract(cv2.warpAffine(texture(2), cv2.getRotationMatrix2D((100, 80), 12, 1.0), SIZE))
    expected = [vlad.encode(sift.extract(texture(seed)).descriptors, words) @ vlad.encode(features.descriptors, words) for seed in range(4)]
    assert library.scores(features) == pytest.approx(expected, abs=1e-5) and np.argmax(expected) == 2
    assert library.candidates(features)[0].name == "2"


def test_kept_features_are_those_extracted(tmp_path) -> None:
    sift, asked = Sift(100), []

    class Once:
        fingerprint = "once"

        def extract(self, image, mask=None):
            asked.append(mask)
            return sift.extract(image, mask)

    kept, mask = Kept(Once(), 100, tmp_path / "new"), np.zeros(SIZE[::-1], bool)
    mask[:, :100] = True
    for _ in range(2):
        whole, half = kept.extract(texture(0)), kept.extract(texture(0), mask)
    assert len(asked) == 2 and half.keypoints[:, 0].max() < 101 < whole.keypoints[:, 0].max()
    expected = sift.extract(texture(0))
    for name in ("keypoints", "scores", "descriptors", "scales"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(expected, name))
    assert whole.image_size == SIZE
