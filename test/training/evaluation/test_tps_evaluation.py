"""The loop over objects and its means, with an extractor whose keypoints are known."""
import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from dalf_training.evaluation.extractor_scores import Extractor, mutual_matches
from dalf_training.evaluation.tps_benchmark import find_objects
from dalf_training.evaluation.tps_evaluation import TpsResult, dataset_means, evaluate_objects, table, write_csv
from dalf_training.evaluation.tps_metrics import TpsScore

from dalf_core import Features


def grid_extractor(spacing: int) -> Extractor:
    """Keypoints on a grid, the same in every image, each with a descriptor of its own."""
    def extract(image: np.ndarray) -> Features:
        height, width = image.shape[:2]
        xy = np.stack(np.meshgrid(np.arange(4, width, spacing), np.arange(4, height, spacing)), axis=-1).reshape(-1, 2)
        return Features(xy.astype(np.float32), np.ones(len(xy), np.float32), np.eye(len(xy), dtype=np.float32), (width, height))
    return Extractor(extract, mutual_matches)


def test_known_scores(tps_folders: tuple[Path, Path]) -> None:
    """All splines move by 8 px to the right. A grid of 16 px never corresponds, nor do the descriptors of one of 8 px, whose keypoints do:
    at rest 18 of 20 columns and 15 rows are within the mask, bent 17 columns (x < 140) and 13 rows (y >= 20)."""
    results = list(evaluate_objects(find_objects(*tps_folders, ["Kinect1"]), {"coarse": grid_extractor(16), "fine": grid_extractor(8)}))
    assert [(row.target, row.extractor) for row in results] == [("cloud_2", "coarse"), ("cloud_2", "fine"), ("cloud_10", "coarse"),
                                                                ("cloud_10", "fine")]
    coarse, fine = results[0].score, results[1].score
    assert coarse.correspondences == 0 == coarse.inliers
    assert fine.keypoints == 17 * 13
    assert fine.correspondences == 16 * 13         # the bent column at x = 4 goes to 12, left of the mask at rest
    assert fine.inliers == 0


def test_means_are_of_objects() -> None:
    def result(dataset: str, name: str, value: float) -> TpsResult:
        return TpsResult(dataset, name, "cloud_1", "ours", TpsScore(value, value, value, value, value, value))

    results = [result("Kinect1", "a", 1.0), result("Kinect1", "a", 0.0), result("Kinect1", "b", 0.0), result("DeSurTSampled", "c", 1.0)]
    means = dataset_means(results)
    assert {key: mean.matching_score for key, mean in means.items()} == pytest.approx(
        {("Kinect1", "ours"): 1 / 4, ("DeSurTSampled", "ours"): 1.0, ("all", "ours"): 1 / 2})
    assert table(means).splitlines()[-1].split() == ["all", "ours", "0.500", "0.500", "0", "0.500", "0"]


def test_the_file_holds_every_pair(tps_folders: tuple[Path, Path], tmp_path: Path) -> None:
    results = list(evaluate_objects(find_objects(*tps_folders), {"fine": grid_extractor(8)}))
    write_csv(tmp_path / "pairs.csv", results)
    with open(tmp_path / "pairs.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["object"], row["image"]) for row in rows] == [("shirt", "cloud_2"), ("shirt", "cloud_10"), ("bag", "cloud_1")]
    assert float(rows[0]["keypoints"]) == 17 * 13


def test_a_mask_of_another_size_is_named(tps_folders: tuple[Path, Path]) -> None:
    cv2.imwrite(str(tps_folders[1] / "Kinect1" / "shirt" / "cloud_master_objmask.png"), np.full((60, 80), 255, np.uint8))
    with pytest.raises(ValueError, match="masks of cloud_master are 80x60, but its image .* is 160x120"):
        list(evaluate_objects(find_objects(*tps_folders), {"fine": grid_extractor(8)}))
