"""What a release needs: a changelog that catkin's tools read, a declaration that says what is so, names of rclpy that last."""
from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
VERSION = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")


def test_the_changelog_is_in_the_format_of_catkin() -> None:
    """The steps of catkin_prepare_release: the section to come gets its version, then the whole is read."""
    changelog = pytest.importorskip("catkin_pkg.changelog")
    release = pytest.importorskip("catkin_pkg.package_version")
    text = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    label = release.get_forthcoming_label(text)
    if label is not None:
        text = release.rename_section(text, label, f"{VERSION} (2026-12-01)")
    read = changelog.populate_changelog_from_rst(changelog.Changelog("dalf"), text)
    content = read.get_content_of_version(VERSION)
    assert len(content) == 1 and len(content[0].bullets) >= 5
    assert "Changelog for package dalf" in text.splitlines()


def test_the_declaration_is_of_this_version() -> None:
    text = (ROOT / "QUALITY_DECLARATION.md").read_text(encoding="utf-8")
    assert f"| **no**: {VERSION} |" in text                     # REP-2004 calls 1.0.0 and later stable
    assert "quality level 4" in text


def test_only_public_names_of_rclpy() -> None:
    """Between Jazzy and Lyrical what is private to rclpy moves: the compiled half, the attributes of Node."""
    sources = [*(ROOT / "dalf_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    assert len(sources) > 50
    private = re.compile(r"rclpy\.impl|rclpy_implementation|import _rclpy|\b(?:self\._)?(?:node|publisher)\._[a-z]|\brclpy\.[\w.]*\._[a-z]")
    found = [f"{path.relative_to(ROOT)}: {line.strip()}" for path in sources for line in path.read_text(encoding="utf-8").splitlines()
             if private.search(line)]
    assert not found


def test_cmake_uses_nothing_that_lyrical_has_not() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "ament_target_dependencies" not in text
