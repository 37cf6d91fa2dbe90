"""Links of the pages lead somewhere."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("dalf_*/**/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_files(page: Path) -> None:
    """Source files that the text names by their path."""
    named = re.findall(r"\b((?:dalf_core|dalf_ros|training|benchmarks|config|launch|test)/[\w/.]+\.(?:py|yaml|rviz|json|xml))\b",
                       page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
