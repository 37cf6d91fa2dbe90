"""Every requirement has one exact version."""
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "requirements"


def packages(path: Path) -> list[str]:
    """The lines that name packages."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_exact_versions(path: Path) -> None:
    loose = [line for line in packages(path) if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z]+\])?==[0-9][^ ]*( ; .*)?", line)]
    assert not loose


def test_named_once() -> None:
    names = [re.split(r"[\[=]", line)[0].lower().replace("_", "-") for path in FOLDER.glob("*.txt") for line in packages(path)]
    assert sorted(names) == sorted(set(names))
