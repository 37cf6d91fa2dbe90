"""What the parameter `objects` names."""
from __future__ import annotations

from pathlib import Path

import pytest

from dalf_ros.nodes.parameters import ParameterError
from dalf_ros.objects.object_files import object_files, object_name


def test_paths_folders_and_names(tmp_path: Path) -> None:
    for name in ("b.dalf", "a.dalf", "other.txt"):
        (tmp_path / name).touch()
    assert object_files(str(tmp_path)) == {"a": tmp_path / "a.dalf", "b": tmp_path / "b.dalf"}
    assert object_files("") == {}
    assert list(object_files("'red shirt.dalf' /x/cup-2.dalf 7up.dalf").items()) == [
        ("red_shirt", Path("red shirt.dalf")), ("cup_2", Path("/x/cup-2.dalf")), ("object_7up", Path("7up.dalf"))]
    assert object_name(Path("...dalf")) == "object" and object_name(Path("köln.dalf")) == "k_ln"


@pytest.mark.parametrize("value, words", [("'a", "no list of paths"), ("a/x.dalf b/x.dalf", "would both be objects/x"),
                                          ("a-b.dalf a_b.dalf", "rename one"), (".", "holds no template")])
def test_what_is_refused(value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=words):
        object_files(value)
