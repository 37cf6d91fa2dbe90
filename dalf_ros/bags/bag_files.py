"""From the path that a user names to the storage files of a rosbag2 recording, in order: with metadata.yaml, or as a crash leaves them."""
from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .raw_message import BagError

SUFFIXES = (".mcap", ".db3")
PACKED = ".zstd"
METADATA = "metadata.yaml"


@dataclass(frozen=True)
class BagFiles:
    """paths: storage files in the order of recording, packed ones too. latched: topics that metadata.yaml calls latched.

    remark: empty, or a sentence on what is wrong with the folder.
    """

    paths: list[Path]
    latched: frozenset[str] = field(default_factory=frozenset)
    remark: str = ""


def find_files(path: Path) -> BagFiles:
    """The storage files of a rosbag2 folder or of a bare file. Raises BagError."""
    if not path.exists():
        raise BagError(f"{path} does not exist")
    if path.is_file():
        if path.stat().st_size == 0:
            raise BagError(f"{path} is empty (0 bytes)")
        if not _is_storage(path):
            raise BagError(f"{path} is not a bag: expected a rosbag2 folder, .mcap, .db3 or .bag; or, where pictures will do, a folder of "
                           "them, color/ and depth/")
        return BagFiles([path])
    present = _present(path)
    if not (path / METADATA).is_file():
        if not present:
            raise BagError(f"{path} is not a bag: neither metadata.yaml nor .mcap or .db3 files in it")
        return BagFiles(_one_series(path, present))
    return _with_metadata(path, present)


def is_bag_folder(path: Path) -> bool:
    """Whether a folder is a bag, be it damaged."""
    return (path / METADATA).is_file() or any(_is_storage(file) for file in path.iterdir())


def unpack(path: Path, folder: Path) -> Path:
    """The file itself, or what is in a .zstd file, written to the folder. Raises BagError."""
    if path.suffix != PACKED:
        return path
    import zstandard

    target = folder / path.stem
    try:
        with path.open("rb") as source, zstandard.open(source, "rb") as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    except (OSError, zstandard.ZstdError) as error:
        raise BagError(f"{path} cannot be decompressed: {error}") from error
    return target


def _is_storage(path: Path) -> bool:
    return path.name.endswith((*SUFFIXES, *(suffix + PACKED for suffix in SUFFIXES)))


def _present(folder: Path) -> list[Path]:
    """The storage files in a folder, by their number. Of a file and its packed copy the file: it may not have been packed to the end."""
    files = [file for file in folder.iterdir() if _is_storage(file) and file.is_file() and file.stat().st_size > 0]
    plain = {file.name for file in files}
    files = [file for file in files if file.suffix != PACKED or file.stem not in plain]
    return sorted(files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)])


def _series(path: Path) -> str:
    """What the files of one recording have in common: the name without number and endings."""
    return re.sub(r"_\d+$", "", path.name.removesuffix(PACKED).rpartition(".")[0])


def _one_series(folder: Path, files: list[Path]) -> list[Path]:
    if len({_series(file) for file in files}) > 1:
        raise BagError(f"{folder} has no metadata.yaml and files of several recordings ({', '.join(file.name for file in files)}); "
                       "name one of them")
    return files


def _with_metadata(folder: Path, present: list[Path]) -> BagFiles:
    """The files that metadata.yaml names, and those after them that it should have named."""
    try:
        information = _read_metadata(folder / METADATA)
    except (OSError, ValueError) as error:
        if not present:
            raise BagError(f"{folder} cannot be read: {METADATA}: {error}") from error
        return BagFiles(_one_series(folder, present), remark=f"{METADATA} cannot be read ({error}): the files are read by their numbers")
    named = [folder / PurePosixPath(name).name for name in information["relative_file_paths"]]
    by_name = {file.name: file for file in present}
    found = [by_name.get(file.name) or by_name.get(file.name.removesuffix(PACKED)) or file for file in named]
    missing = [file.name for file in found if not file.exists()]
    if missing:
        raise BagError(f"{folder} cannot be read: files that {METADATA} names are missing: {', '.join(missing)}")
    last = present.index(found[-1]) if found and found[-1] in present else len(present)
    more = [file for file in present[last + 1:] if _series(file) == _series(found[-1])]
    remark = f"{METADATA} does not name {', '.join(file.name for file in more)}; read all the same" if more else ""
    return BagFiles(found + more, frozenset(_latched(information)), remark)


def _read_metadata(path: Path) -> dict[str, Any]:
    """The content of metadata.yaml. ValueError: it is not what it should be."""
    from ruamel.yaml import YAML, YAMLError

    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    information = content.get("rosbag2_bagfile_information") if isinstance(content, dict) else None
    if not isinstance(information, dict) or not isinstance(information.get("relative_file_paths"), list):
        raise ValueError("it is cut off, or no rosbag2 metadata")
    return information


def _latched(information: dict[str, Any]) -> list[str]:
    topics = [entry.get("topic_metadata", {}) for entry in information.get("topics_with_message_count") or []]
    return [str(topic.get("name")) for topic in topics if is_latched(topic.get("offered_qos_profiles"))]


def is_latched(offered_qos_profiles: Any) -> bool:
    """Whether a publisher of these QoS profiles (YAML text, or what it says) keeps its last message for late subscribers."""
    if isinstance(offered_qos_profiles, list):
        return any(str(profile.get("durability")) in ("1", "transient_local") for profile in offered_qos_profiles)
    return bool(re.search(r"durability['\"]?:\s*['\"]?(1|transient_local)\b", str(offered_qos_profiles or "")))
