"""Every script of examples/, as a reader would start it, against where the simulation moved the cloth."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
# Where the point of the cloth in the middle of the first image is in the second, by the simulation.
TRUE_POINT_M, TRUE_PIXEL = (0.0205, 0.0143, 0.6866), (252.42, 188.36)


def run(name: str, folder: Path, *arguments: object) -> str:
    done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)], cwd=folder, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_a_test_of_each() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"register_two_frames", "match_two_pictures", "own_features_in_opencv",
                                                             "follow_a_clip"}
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) < 300_000


@pytest.mark.slow
def test_register_two_frames(tmp_path: Path, load_ply) -> None:
    told = run("register_two_frames", tmp_path)
    assert int(re.search(r"(\d+) verified", told)[1]) > 400 and "tracked, residual" in told
    moved = np.array(re.search(r"to \[(.*)\]", told)[1].split(), float)
    np.testing.assert_allclose(moved, TRUE_POINT_M, atol=0.003)
    surface = load_ply(tmp_path / "deformed.ply")
    assert np.linalg.norm(surface.vertices - moved, axis=1).min() < 0.01


@pytest.mark.slow
def test_match_two_pictures(tmp_path: Path) -> None:
    told = run("match_two_pictures", tmp_path)
    assert int(re.search(r"(\d+) verified", told)[1]) > 700
    np.testing.assert_allclose(np.array(re.search(r"lies at \[(.*)\]", told)[1].split(), float), TRUE_PIXEL, atol=0.7)


@pytest.mark.slow
def test_own_features_in_opencv(tmp_path: Path) -> None:
    told = run("own_features_in_opencv", tmp_path)
    assert int(told.split()[0]) > 350
    assert cv2.imread(str(tmp_path / "opencv_matches.jpg")).shape == (360, 960, 3)


@pytest.mark.slow
def test_follow_a_clip(tmp_path: Path) -> None:
    first, second = run("follow_a_clip", tmp_path).splitlines()
    assert "[240. 180.]" in first
    np.testing.assert_allclose(np.array(re.search(r"at \[(.*)\]", second)[1].split(), float), TRUE_PIXEL, atol=0.7)
    assert run("follow_a_clip", tmp_path, EXAMPLES / "data" / "color" / "%d.jpg").splitlines()[0] == first


@pytest.mark.slow
def test_the_readme_shows_the_first_one() -> None:
    """Whole, as it runs."""
    code = (EXAMPLES / "register_two_frames.py").read_text(encoding="utf-8").split('"""', 2)[2].strip()
    assert code in (ROOT / "README.md").read_text(encoding="utf-8")
