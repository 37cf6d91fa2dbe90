"""The parameter `objects`: which templates are followed, and by what names."""
from __future__ import annotations

import re
import shlex
from pathlib import Path

from ..nodes.parameters import ParameterError

SUFFIX = ".dalf"


def object_files(value: str) -> dict[str, Path]:
    """Templates by the object's name, a part of topic names: that of the file, with _ for what topics cannot have.

    value: paths separated by blanks (quotes keep those of a name), or a folder of templates; empty: none.
    Raises ParameterError: unbalanced quotes, a folder without templates, two of one name.
    """
    try:
        words = [Path(word).expanduser() for word in shlex.split(value)]
    except ValueError as error:
        raise ParameterError(f"objects: {value!r} is no list of paths: {error}") from error
    paths: list[Path] = []
    for path in words:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not inside:
            raise ParameterError(f"objects: {path} holds no template ({SUFFIX}): ./run template make writes them")
        paths += inside
    found: dict[str, Path] = {}
    for path in paths:
        name = object_name(path)
        if name in found:
            raise ParameterError(f"objects: {found[name]} and {path} would both be objects/{name}: rename one of the files")
        found[name] = path
    return found


def object_name(path: Path) -> str:
    """The object's part of topic names: letters, digits and _, not beginning with a digit."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", path.name.removesuffix(SUFFIX)).strip("_")
    return name if name and not name[0].isdigit() else f"object_{name}".rstrip("_")
