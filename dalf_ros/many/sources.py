"""From what the user names (files, folders, globs, lists, addresses) to recordings, each with a name of its own."""
from __future__ import annotations

import glob
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dalf_core.recordings.folder_layout import COLOR, PICTURES

STORAGE = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd", ".bag")
METADATA, OURS = "metadata.yaml", "metrics.json"        # of a rosbag2 folder; of what `register` has written, which is no recording
LIST = "@"
WORDS = re.compile("[^a-z]+")


@dataclass(frozen=True)
class Source:
    """A recording. address: an absolute path, or a URL. size: bytes of a bag on this machine; None where it is not known."""

    address: str
    size: int | None = None

    @property
    def told(self) -> str:
        """The address as it may be printed and kept."""
        return shown(self.address)


@dataclass(frozen=True)
class _Tree:
    """Files of this machine, or of elsewhere. prefix: what makes an address of a path in it; None: fsspec knows."""

    fs: Any
    prefix: str | None

    @property
    def is_here(self) -> bool:
        return self.prefix == ""

    def source(self, path: str, size: int | None = None) -> Source:
        """size: of the files of a bag's folder; a file's own is looked up."""
        if not self.is_here:
            return Source(self.fs.unstrip_protocol(path) if self.prefix is None else self.prefix + path)
        return Source(path, Path(path).stat().st_size if size is None and Path(path).is_file() else size)


class SourceError(ValueError):
    """What was named cannot be found. The message names the cause and the mend."""


def find_sources(words: Iterable[str], leave_out: Path) -> list[Source]:
    """The recordings that the words mean, in order, each once. leave_out: a folder whose content is not looked at, such as the results'.

    A path that does not exist, and has no wildcards, counts as a recording: it may have been registered before. Raises SourceError where a
    glob, a list or a folder holds no recording.
    """
    found = {source.address: source for word in words for source in _meant(word, leave_out.resolve())}
    return list(found.values())


def is_remote(address: str) -> bool:
    """Whether it is fsspec's to read: s3://..., https://..."""
    return "://" in address


def shown(address: str) -> str:
    """The address as it may be told and kept: without user name and password."""
    return re.sub(r"(://)[^/@]*@", r"\1", address)


def _meant(word: str, leave_out: Path) -> Iterator[Source]:
    if word.startswith(LIST):
        yield from _listed(Path(word[len(LIST):]), leave_out)
        return
    if word.startswith("file://"):
        word = word.removeprefix("file://")
    paths = _matches(word)
    count = 0
    for tree, path in paths:
        for source in _recordings(tree, path, leave_out, is_named=True):
            count += 1
            yield source
    if not count:
        what = "nothing matches" if not paths else "there is no recording in"
        raise SourceError(f"{what} {word}: name bags (rosbag2 folders, {', '.join(STORAGE)}), folders of pictures, folders of these, "
                          "globs in quotes ('**' for any depth), or @FILE, a list of them")


def _listed(path: Path, leave_out: Path) -> Iterator[Source]:
    """One source a line; relative paths start at the list's folder; what follows a # at the start of a line is a remark."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"the list {path} cannot be read: {error}") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise SourceError(f"the list {path} names no recording")
    for line in lines:
        yield from _meant(line if is_remote(line) else str(path.parent / line), leave_out)


def _matches(word: str) -> list[tuple[_Tree, str]]:
    """The paths, each in its tree, that a word names: itself, or what matches its wildcards."""
    has_wildcards = re.search(r"[*?[]", word)
    if not is_remote(word):
        here = _here()
        paths = sorted(glob.glob(word, recursive=True)) if has_wildcards and not Path(word).exists() else [word]
        return [(here, str(Path(path).resolve())) for path in paths]
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(word)
        there = _Tree(fs, word.removesuffix(path) if word.endswith(path) else None)
        return [(there, match) for match in sorted(fs.glob(path))] if has_wildcards else [(there, path)]
    except (OSError, ImportError, ValueError) as error:
        raise SourceError(cannot_be_reached(word, error)) from error


def cannot_be_reached(address: str, error: Exception) -> str:
    """What is wrong with an address, and what would mend it."""
    mend = ": ./run exec python -m pip install the package that it names" if isinstance(error, ImportError) else ""
    return f"{shown(address)} cannot be reached: {' '.join(str(error).split())}{mend}"


def _here() -> _Tree:
    from fsspec.implementations.local import LocalFileSystem

    return _Tree(LocalFileSystem(), "")


def _recordings(tree: _Tree, path: str, leave_out: Path, is_named: bool = False) -> Iterator[Source]:
    """The path itself where it is a recording, else those below it; `leave_out` and hidden folders are not looked at."""
    if tree.is_here and Path(path).resolve() == leave_out:
        return
    if not tree.is_here and path.endswith(STORAGE) or not tree.fs.isdir(path):
        if is_named or path.endswith(STORAGE):
            yield tree.source(path)
        return
    entries = {posixpath.basename(entry["name"].rstrip("/")): entry for entry in tree.fs.ls(path, detail=True)}
    folders = sorted(name for name, entry in entries.items() if entry["type"] == "directory" and name[:1] != ".")
    files = sorted(name for name, entry in entries.items() if entry["type"] == "file" and name[:1] != ".")
    if OURS in files:
        return
    if METADATA in files:
        yield tree.source(path, sum(entries[name].get("size") or 0 for name in files))
    elif _is_of_pictures(folders, files):
        yield tree.source(path)
    else:
        for name in sorted([*folders, *(name for name in files if name.endswith(STORAGE))]):
            yield from _recordings(tree, f"{path.rstrip('/')}/{name}", leave_out)


def _is_of_pictures(folders: list[str], files: list[str]) -> bool:
    """As folder_layout finds them: a folder of colour pictures, or pictures whose names tell their role."""
    return any(name.lower() in COLOR for name in folders) or any(
        name.lower().endswith(PICTURES) and set(WORDS.split(name.lower().rpartition(".")[0])) & set(COLOR) for name in files)


def stem(address: str) -> str:
    """What a recording is called: its file without the ending, or its folder."""
    name = posixpath.basename(re.sub(r"[?#].*$", "", address).rstrip("/") if is_remote(address) else address)
    ending = next((ending for ending in sorted(STORAGE, key=len, reverse=True) if name.endswith(ending)), "")
    return name.removesuffix(ending).lstrip(".") or "recording"


def name_all(addresses: Iterable[str], known: dict[str, str]) -> dict[str, str]:
    """A name for each address, no two alike. known: names that were given before, by address; they stay.

    Recordings that would have the same name are told apart by the folders they are in: monday-cloth, tuesday-cloth.
    """
    fresh = [address for address in addresses if address not in known]
    often = Counter(map(stem, {*fresh, *known}))
    names, taken = dict(known), set(known.values())
    for address in fresh:
        candidates = _candidates(address)
        if often[candidates[0]] > 1 and len(candidates) > 1:
            candidates = candidates[1:]
        name = next((name for name in candidates if name not in taken), None)
        number = 2
        while name is None:
            numbered = f"{candidates[-1]}-{number}"
            name, number = (None if numbered in taken else numbered), number + 1
        names[address] = name
        taken.add(name)
    return names


def _candidates(address: str) -> list[str]:
    """cloth, tuesday-cloth, lab-tuesday-cloth: ever more of the folders."""
    path = address.partition("://")[2] if is_remote(address) else address
    folders = [part for part in posixpath.dirname(path.rstrip("/")).split("/") if part.strip(".")]
    names = [stem(address)]
    for folder in reversed(folders):
        names.append(f"{folder}-{names[-1]}")
    return names
