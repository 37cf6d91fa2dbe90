"""Verifiers on matches whose truth is known."""
import numpy as np
import pytest

from dalf_core import Features, Matches

verification = pytest.importorskip("verification")
verifiers = pytest.importorskip("verifiers")


def flat_scene(outliers: float, count: int = 600) -> tuple[Features, Features, Matches, np.ndarray]:
    """A plane moved by an affine map with half a pixel of noise; a share of the matches goes anywhere."""
    rng = np.random.default_rng(0)
    source = rng.uniform([0, 0], [640, 480], (count, 2))
    target = source @ np.array([[0.9, 0.2], [-0.2, 0.9]]) + [10, 80] + rng.normal(0, 0.5, (count, 2))
    right = rng.random(count) >= outliers
    target[~right] = rng.uniform([0, 0], [640, 480], ((~right).sum(), 2))
    descriptors = rng.normal(size=(count, 32))
    descriptors = (descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)).astype(np.float32)
    a, b = (Features(xy.astype(np.float32), np.ones(count, np.float32), descriptors, (640, 480)) for xy in (source, target))
    return a, b, Matches(np.arange(count), np.arange(count), np.zeros(count, np.float32), np.ones(count, bool)), right


@pytest.mark.parametrize("name", ["ours", "adalam", "magsac", "tps-ransac"])
def test_a_plane_with_outliers(name: str) -> None:
    a, b, matches, right = flat_scene(0.3)
    outcome = verification.run(verifiers.make_verifier(name), verifiers.putative(a, b, matches), np.where(right, 0.5, 99.0))
    assert outcome.right == right.sum() and outcome.near == outcome.both
    assert outcome.both / outcome.kept > 0.95 and outcome.both / outcome.right > 0.9
    assert outcome.milliseconds > 0


def test_table() -> None:
    outcome = verification.Outcome
    rows = [outcome(10, 8, 8, 9, 5.0), outcome(90, 100, 60, 63, 7.0)]
    printed = verification.table({("hard", "ours"): rows}, {"hard": [(8, 20), (100, 200)]})
    assert "2 pairs, 110 matches a pair, 45.0% right" in printed
    values = [float(word) for word in printed.splitlines()[-1].split()[1:]]
    assert values == pytest.approx([(0.8 + 2 / 3) / 2, 0.8, 0.8, 0.68, 0.63, 6.0], abs=1e-3)


def test_the_official_code_must_be_there() -> None:
    with pytest.raises(ValueError, match="--official"):
        verifiers.make_verifier("affine-ransac")
