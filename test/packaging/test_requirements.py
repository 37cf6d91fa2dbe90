"""Every requirement has one exact version."""
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).parents[2] / "requirements"
FOR_NUMPY_1 = FOLDER / "numpy1.txt"         # takes the place of what the others name


def packages(path: Path) -> list[str]:
    """The lines that name packages."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_exact_versions(path: Path) -> None:
    loose = [line for line in packages(path) if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z]+\])?==[0-9][^ ]*( ; .*)?", line)]
    assert not loose


def names(path: Path) -> list[str]:
    return [re.split(r"[\[=]", line)[0].lower().replace("_", "-") for line in packages(path)]


def named(python: str) -> list[str]:
    """The packages that all files name for one version of Python, those of NumPy 1 apart."""
    lines = [Requirement(line) for path in FOLDER.glob("*.txt") if path != FOR_NUMPY_1 for line in packages(path)]
    environment = {"python_version": python, "python_full_version": f"{python}.1"}
    return [line.name.lower().replace("_", "-") for line in lines if line.marker is None or line.marker.evaluate(environment)]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_named_once(python: str) -> None:
    assert sorted(named(python)) == sorted(set(named(python)))


def test_only_open3d_is_left_out_for_python_3_14() -> None:
    assert set(named("3.13")) - set(named("3.14")) == {"open3d"}
    assert set(named("3.14")) <= set(named("3.13"))


def test_for_numpy_1_only_what_is_required_anyway_has_another_version() -> None:
    others = {line for path in FOLDER.glob("*.txt") if path != FOR_NUMPY_1 for line in packages(path)}
    assert set(names(FOR_NUMPY_1)) <= {re.split(r"[\[=]", line)[0] for line in others}
    assert not others & set(packages(FOR_NUMPY_1))
