"""The parameter tables against the documentation pages, config/dalf.yaml and themselves; the other YAML files: test_config."""
from __future__ import annotations

from pathlib import Path

import pytest

from dalf_ros.nodes.parameters import TABLES, documentation_table

yaml = pytest.importorskip("ruamel.yaml")
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("node", TABLES)
def test_documentation_page_has_the_table(node: str) -> None:
    page = (ROOT / "docs" / f"{node}.md").read_text(encoding="utf-8")
    assert documentation_table(TABLES[node]) in page


@pytest.mark.parametrize("node", TABLES)
def test_documentation_page_names_every_topic(node: str) -> None:
    from dalf_ros.conversions import topics

    page = (ROOT / "docs" / f"{node}.md").read_text(encoding="utf-8")
    for name in topics.FEATURE_TOPICS if node == "feature_node" else topics.SURFACE_TOPICS:
        kind = topics.TYPES[name].replace("/msg/", "/")
        assert f"| `{name}` | {kind} |" in page


def test_main_yaml_holds_all_parameters_with_their_defaults() -> None:
    document = yaml.YAML(typ="safe").load((ROOT / "config" / "dalf.yaml").read_text(encoding="utf-8"))
    defaults = {node: {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in table}
                for node, table in TABLES.items()}
    assert {key.removeprefix("/**/"): section["ros__parameters"] for key, section in document.items()} == defaults


@pytest.mark.parametrize("node", TABLES)
def test_defaults_are_allowed_and_names_unique(node: str) -> None:
    table = TABLES[node]
    assert len({parameter.name for parameter in table}) == len(table)
    for parameter in table:
        assert parameter.problem(parameter.default) is None and parameter.description


def test_problems_are_told() -> None:
    table = {parameter.name: parameter for parameter in TABLES["feature_node"]}
    assert "0.1 to 8" in table["image_scale"].problem(100.0)
    assert "raw, compressed" in table["image_transport"].problem("theora")
    assert table["image_scale"].problem(float("nan"))
