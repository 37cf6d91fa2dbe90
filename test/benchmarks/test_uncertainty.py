"""What the benchmark of covariances says of errors whose distribution is known."""
from types import SimpleNamespace

import numpy as np
import pytest

uncertainty = pytest.importorskip("uncertainty")


@pytest.mark.parametrize(("times", "normalised", "one", "two"), [(1.0, 0.89, 68, 95), (0.5, 0.44, 95, 100), (2.0, 1.78, 38, 68)])
def test_normal_errors(times: float, normalised: float, one: float, two: float) -> None:
    """times: the errors are so many times as large as the covariance says; it is of another shape and direction at each point."""
    rng = np.random.default_rng(0)
    lower = np.tril(rng.uniform(0.5, 2.0, (20000, 3, 3))) * 1e-3
    truth = rng.normal(size=(20000, 3))
    error = times * np.einsum("nij,nj->ni", lower, rng.normal(size=(20000, 3)))
    points = [SimpleNamespace(position=place, covariance=matrix @ matrix.T) for place, matrix in zip(truth + error, lower)]
    seen = np.arange(20000) < 15000
    attachment = SimpleNamespace(positions=lambda frame: truth, visible=lambda frame: seen)
    rows = uncertainty._judged(points, attachment, 0)
    np.testing.assert_allclose(rows[:, 0], np.linalg.norm(error, axis=1), rtol=1e-9)
    _, _, first, second = uncertainty.table(rows).splitlines()
    for line, title, count in ((first, "sees", 15000), (second, "does not see", 5000)):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [title, str(count)]
        assert abs(float(cells[3]) - normalised) < 0.03
        assert abs(float(cells[4].strip("%")) - one) < 2 and abs(float(cells[5].strip("%")) - two) < 2
