"""The files beside this one that pages are made of."""
from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent


def template(name: str) -> Template:
    """A template of page/. What it is given is escaped, so names may hold anything."""
    return _environment().get_template(name)


@cache
def _environment():      # type: ignore[no-untyped-def]
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(FOLDER / "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                       lstrip_blocks=True)


@cache
def file_text(folder: str, name: str) -> str:
    """A script or a style sheet."""
    return (FOLDER / folder / name).read_text(encoding="utf-8")
