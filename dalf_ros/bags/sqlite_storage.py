"""One .db3 file of rosbag2, also one that a crash has cut off or left with its journal."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from .bag_files import is_latched
from .raw_message import BagError, RawMessage, StoredChannel

MAGIC = b"SQLite format 3\x00"
JOURNALS = ("-wal", "-journal")         # what SQLite had not yet moved into the file
_LANGUAGES = {"ros2msg": "msg", "ros2idl": "idl"}


class SqliteStorage:
    """channels: those in ROS 2's encoding. foreign: the others, {topic: encoding}. damaged: None, or what could not be read.

    scratch: a folder for a copy of files with a journal, which reading would change.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path
        self.damaged: str | None = None
        self.foreign: dict[str, str] = {}
        self.channels: list[StoredChannel] = []
        self._topics: dict[int, tuple[str, str]] = {}
        self._size = _promised_size(path)
        self._cut = path.stat().st_size < self._size
        if self._cut:
            self.damaged = f"{path.name} is cut off: reading what is there"
        self._database = self._opened(scratch)
        try:
            self._read_topics()
        except apsw.Error as error:
            self.close()
            raise BagError(f"{path} cannot be read: {error}") from error

    def close(self) -> None:
        self._database.close()

    def messages(self, topics: set[str] | None) -> Iterator[RawMessage]:
        """In the order of recording times; of a file that is cut off as they lie in it."""
        chosen = [number for number, (name, _) in self._topics.items() if topics is None or name in topics]
        table, order = ("messages NOT INDEXED", "id") if self._cut else ("messages", "timestamp, id")
        rows = self._database.execute(f"SELECT topic_id, timestamp, data FROM {table} "
                                      f"WHERE topic_id IN ({','.join('?' * len(chosen))}) ORDER BY {order}", chosen)
        count = 0
        try:
            for number, time_ns, data in rows:
                yield RawMessage(*self._topics[number], time_ns, bytes(data))
                count += 1
        except apsw.Error as error:
            self.damaged = f"{self._path.name} is damaged: {count} messages could be read, what follows is lost ({error})"

    def _opened(self, scratch: Path) -> apsw.Connection:
        """The database, never changed: by itself, or a copy together with its journal, which SQLite then works in."""
        beside = [Path(f"{self._path}{ending}") for ending in JOURNALS]
        waiting = [file for file in beside if file.is_file() and file.stat().st_size > 0]
        if waiting and not self._cut:
            for file in (self._path, *waiting):
                shutil.copyfile(file, scratch / file.name)
            return apsw.Connection(str(scratch / self._path.name))
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        self._system = _CutOffFiles(self._size) if self._cut else None       # SQLite keeps no reference to it
        return apsw.Connection(f"file:{quote(str(self._path.resolve()))}?immutable=1", flags=flags,
                               vfs=self._system.name if self._system else None)

    def _read_topics(self) -> None:
        columns = {row[1] for row in self._database.execute("PRAGMA table_info(topics)")}
        if not columns:
            raise BagError(f"{self._path} cannot be read: it has no table of topics")
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        counts, definitions = self._counts(), self._definitions()
        rows = self._database.execute(f"SELECT id, name, type, serialization_format, {qos} FROM topics ORDER BY id")
        for number, name, kind, encoding, profiles in rows:
            if encoding != "cdr":
                self.foreign[name] = encoding or "no encoding"
                continue
            self._topics[number] = (name, kind)
            language, definition = definitions.get(kind, ("", ""))
            count = None if counts is None else counts.get(number, 0)
            self.channels.append(StoredChannel(name, kind, count, is_latched(profiles), language, definition))

    def _counts(self) -> dict[int, int] | None:
        try:
            return dict(self._database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id").fetchall())
        except apsw.Error:
            if not self._cut:
                raise
            return None

    def _definitions(self) -> dict[str, tuple[str, str]]:
        """Language and text of message types, which files of Iron and later hold."""
        if not self._database.execute("PRAGMA table_info(message_definitions)").fetchall():
            return {}
        rows = self._database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
        return {kind: (_LANGUAGES[encoding], text) for kind, encoding, text in rows if encoding in _LANGUAGES and text}


def _promised_size(path: Path) -> int:
    """Bytes of the file as its header says; 0 where that is not kept up to date. BagError: it is no SQLite file."""
    with path.open("rb") as stream:
        head = stream.read(100)
    if not head.startswith(MAGIC) or len(head) < 100:
        raise BagError(f"{path} cannot be read: it does not begin as a SQLite file does")
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    return page * int.from_bytes(head[28:32], "big") if head[24:28] == head[92:96] else 0


class _CutOffFiles(apsw.VFS):
    """A file system for SQLite in which a file has its promised size, and reading what is missing fails.

    Otherwise SQLite refuses a file that is too short as a whole; and missing pages read as zeros would pass for data.
    """

    def __init__(self, size: int) -> None:
        self.name = f"dalf_cut_off_{id(self)}"
        self._size = size
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _CutOffFile(name, flags, self._size)


class _CutOffFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], size: int) -> None:
        super().__init__("", name, flags)
        self._promised = size

    def xFileSize(self) -> int:  # noqa: N802
        return self._promised

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if offset + amount > super().xFileSize():
            raise apsw.CorruptError("the file ends before")
        return super().xRead(amount, offset)
