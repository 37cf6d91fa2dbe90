"""Folders of deforming objects: splines with known values, layout, files that are missing or broken."""
from pathlib import Path

import numpy as np
import pytest
from dalf_training.evaluation.tps_benchmark import TrueSpline, find_objects

SIZE = (160, 120)


def kernel(xy: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    r = np.hypot(*(xy - centre).T)
    return r ** 2 * np.log(r + 1e-6)


def test_a_spline_by_its_formula() -> None:
    control = np.array([[0.2, 0.3], [0.7, 0.4], [0.5, 0.9]])
    weights, affine = np.array([[0.1, -0.2], [0.3, 0.05], [-0.4, 0.15]]), np.array([[0.01, 0.02], [0.03, -0.04], [0.05, 0.06]])
    xy = np.array([[0.0, 0.0], [32, 36], [80, 60], [159, 119]])
    units = xy / SIZE
    moved = affine[0] + units @ affine[1:] + sum(kernel(units, centre)[:, None] * weight for centre, weight in zip(control, weights))
    assert TrueSpline(np.vstack([weights, affine]), control, SIZE).apply(xy) == pytest.approx((units + moved) * SIZE)
    # these weights sum to zero, so the first one may be left out
    assert TrueSpline(np.vstack([weights[1:], affine]), control, SIZE).apply(xy) == pytest.approx((units + moved) * SIZE)
    assert TrueSpline(np.vstack([weights[1:], affine]), control, SIZE).apply(np.zeros((0, 2))).shape == (0, 2)


def test_what_lies_where(tps_folders: tuple[Path, Path]) -> None:
    first, second = find_objects(*tps_folders)
    assert (first.dataset, first.name, first.reference, first.targets) == ("Kinect1", "shirt", "cloud_master", ("cloud_2", "cloud_10"))
    assert (second.dataset, second.name) == ("SimulationICCV", "bag")
    assert first.image("cloud_2").shape == (120, 160, 3)
    mask = first.reference_mask()
    assert not mask[:, :20].any() and mask[:, 20:].all()
    mask = first.target_mask("cloud_2")        # on the object, and alike
    assert not mask[:20].any() and not mask[:, 140:].any() and mask[20:, :140].all()
    assert first.spline("cloud_2", SIZE).apply(np.array([[10.0, 20.0]])) == pytest.approx(np.array([[18.0, 20.0]]))


def test_datasets_are_chosen(tps_folders: tuple[Path, Path]) -> None:
    assert [one.name for one in find_objects(*tps_folders, ["SimulationICCV"] * 2)] == ["bag"]
    with pytest.raises(ValueError, match="no folder Kinect2"):
        find_objects(*tps_folders, ["Kinect2"])
    with pytest.raises(ValueError, match="none of the folders Kinect1"):
        find_objects(tps_folders[0] / "Kinect1", tps_folders[1])
    with pytest.raises(ValueError, match="is no folder"):
        find_objects(tps_folders[0], tps_folders[1] / "nowhere")


def test_what_is_missing_is_named(tps_folders: tuple[Path, Path]) -> None:
    images, truth = tps_folders
    (truth / "Kinect1" / "shirt" / "cloud_10_SSIM.png").unlink()
    with pytest.raises(FileNotFoundError, match="cloud_10_SSIM.png is missing"):
        find_objects(images, truth)
    (images / "SimulationICCV" / "bag" / "cloud_master-rgb.png").unlink()
    with pytest.raises(ValueError, match=r"bag must hold one image \*master-rgb.png; there are 0"):
        find_objects(images, truth, ["SimulationICCV"])


@pytest.mark.parametrize("content, message", [
    (b"", "cannot be read as an array"), (b"\x93NUMPY broken", "cannot be read as an array"),
    (np.zeros((5, 2)), r"cloud_2_theta.npy \(5, 2\)"), (np.full((1, 7, 2), np.nan), "not finite"), (np.array([{}]), "cannot be read")])
def test_a_broken_spline_is_named(tps_folders: tuple[Path, Path], content: bytes | np.ndarray, message: str) -> None:
    path = tps_folders[1] / "Kinect1" / "shirt" / "cloud_2_theta.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(ValueError, match=message) as raised:
        find_objects(*tps_folders)[0].spline("cloud_2", SIZE)
    assert "cloud_2_theta.npy" in str(raised.value)


def test_a_broken_mask_is_named(tps_folders: tuple[Path, Path]) -> None:
    path = tps_folders[1] / "Kinect1" / "shirt" / "cloud_2_objmask.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(OSError, match="cloud_2_objmask.png is no picture"):
        find_objects(*tps_folders)[0].target_mask("cloud_2")
