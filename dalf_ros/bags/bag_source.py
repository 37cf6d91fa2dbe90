"""Any bag as one stream of raw messages: rosbag2 folders, bare .mcap and .db3 files (also .zstd), ROS 1 .bag, and cut-off mcap files."""
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

STORAGE_SUFFIXES = (".mcap", ".db3")
MCAP_MAGIC = b"\x89MCAP0\r\n"


class BagError(Exception):
    """A bag that cannot be read or written, in one line fit for the user."""


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag. count: messages in it; None where the bag has lost its index."""

    name: str
    type: str
    count: int | None


@dataclass(frozen=True)
class RawMessage:
    """One message as it is stored. time_ns: when it was recorded. data: CDR bytes (ROS 1 bags: ROS 1 bytes)."""

    topic: str
    type: str
    time_ns: int
    data: bytes


class BagSource:
    """A bag opened for reading; use it in a `with` block.

    topics: what is in it, by name. damaged: None, or one sentence saying what of the bag could not be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.topics: dict[str, BagTopic] = {}
        self.damaged: str | None = None
        self._stack = ExitStack()
        self._storage: Any = None

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def messages(self, topics: list[str] | None = None) -> Iterator[RawMessage]:
        """Messages of the named topics (all when None), in the order of their recording."""
        yield from self._storage.messages(topics)
        self.damaged = self.damaged or getattr(self._storage, "damaged", None)

    def deserialize(self, message: RawMessage) -> Any:
        """The message as an object with ROS field names. Raises BagError when its bytes are not of its type."""
        try:
            return self._storage.deserialize(message)
        except Exception as error:
            raise BagError(f"{self.path}: a message on {message.topic} is not a readable {message.type}: {error}") from error

    def cdr(self, message: RawMessage) -> bytes:
        """The message's bytes as ROS 2 sends them, converted where the bag is from ROS 1."""
        return self._storage.cdr(message)

    def is_latched(self, topic: str) -> bool:
        """Whether the topic was recorded from publishers that keep their last message for late subscribers."""
        return self._storage.is_latched(topic)

    def _open(self) -> None:
        path = self._stack.enter_context(_unpacked(_checked(self.path)))
        cut = _cut_off_file(path)
        if cut is not None:
            self._storage = _CutOffMcap(cut)
            self.damaged = f"{cut.name} is cut off (no end of file record): reading what is there"
        else:
            self._storage = self._stack.enter_context(_AnyBag(path))
        self.topics = self._storage.topics
        if not self.topics:
            raise BagError(f"{self.path} holds no topics")


def _checked(path: Path) -> Path:
    """The path, or the error that it deserves."""
    if not path.exists():
        raise BagError(f"{path} does not exist")
    if path.is_file():
        if path.stat().st_size == 0:
            raise BagError(f"{path} is empty (0 bytes)")
        if not path.name.endswith((".bag", *STORAGE_SUFFIXES, *(f"{suffix}.zstd" for suffix in STORAGE_SUFFIXES))):
            raise BagError(f"{path} is not a bag: expected a rosbag2 folder, .mcap, .db3 or .bag")
    elif not (path / "metadata.yaml").is_file() and not _storage_files(path):
        raise BagError(f"{path} is not a bag: neither metadata.yaml nor .mcap or .db3 files in it")
    return path


def _storage_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in STORAGE_SUFFIXES)


class _unpacked:
    """Context: the path to read. A bare .zstd file is unpacked to a temporary one; a folder without metadata gives its only file."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, None

    def __enter__(self) -> Path:
        if self._path.is_dir() and not (self._path / "metadata.yaml").is_file():
            files = _storage_files(self._path)
            if len(files) != 1:
                raise BagError(f"{self._path} has no metadata.yaml and {len(files)} bag files; name one of them")
            return files[0]
        if self._path.suffix != ".zstd":
            return self._path
        import zstandard

        self._temporary = tempfile.TemporaryDirectory()
        target = Path(self._temporary.name) / self._path.stem
        try:
            with self._path.open("rb") as source, zstandard.open(source, "rb") as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        except (OSError, zstandard.ZstdError) as error:
            raise BagError(f"{self._path} cannot be decompressed: {error}") from error
        return target

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()


def _cut_off_file(path: Path) -> Path | None:
    """The mcap file that lacks its end, if that is what the path is or holds as its only file."""
    files = [path] if path.is_file() else _storage_files(path)
    if len(files) != 1 or files[0].suffix != ".mcap":
        return None
    with files[0].open("rb") as stream:
        if stream.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            return None
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - len(MCAP_MAGIC)))
        return None if stream.read() == MCAP_MAGIC else files[0]


class _AnyBag:
    """A whole bag, through rosbags."""

    def __init__(self, path: Path) -> None:
        from rosbags.highlevel import AnyReader

        from ..conversions.message_factory import bag_typestore

        try:
            self._reader = AnyReader([path], default_typestore=bag_typestore())
        except Exception as error:
            raise _reading_error(path, error) from error
        self._path = path
        self._migrations: dict = {}     # what rosbags remembers between conversions

    def __enter__(self) -> Self:
        try:
            self._reader.open()
        except Exception as error:
            raise _reading_error(self._path, error) from error
        counts: dict[str, BagTopic] = {}
        for link in self._reader.connections:
            known = counts.get(link.topic)
            counts[link.topic] = BagTopic(link.topic, link.msgtype, link.msgcount + (known.count or 0 if known else 0))
        self.topics = counts
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def is_latched(self, topic: str) -> bool:
        from rosbags.interfaces import QosDurability

        offered = [getattr(link.ext, "offered_qos_profiles", []) for link in self._reader.connections if link.topic == topic]
        latching = [getattr(link.ext, "latching", None) for link in self._reader.connections if link.topic == topic]
        return any(latching) or any(qos.durability == QosDurability.TRANSIENT_LOCAL for profiles in offered for qos in profiles)

    def messages(self, topics: list[str] | None) -> Iterator[RawMessage]:
        links = [link for link in self._reader.connections if topics is None or link.topic in topics]
        try:
            for link, time_ns, data in self._reader.messages(links) if links else ():
                yield RawMessage(link.topic, link.msgtype, time_ns, data)
        except GeneratorExit:
            raise
        except Exception as error:
            raise _reading_error(self._path, error) from error

    def deserialize(self, message: RawMessage) -> Any:
        return self._reader.deserialize(message.data, message.type)

    def cdr(self, message: RawMessage) -> bytes:
        if self._reader.is2:
            return message.data
        from rosbags.convert.converter import migrate_bytes

        from ..conversions.message_factory import bag_typestore

        return bytes(migrate_bytes(self._reader.typestore, bag_typestore(), message.type, message.type, self._migrations, message.data,
                                   src_is2=False, dst_is2=True))


class _ExactStream:
    """A file whose reads are whole or an error: a record cut in the middle must not pass for a short one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the file ends inside a record")
        return data


class _CutOffMcap:
    """An mcap file whose end is missing, as after a crash or a full disk: everything up to the cut."""

    def __init__(self, path: Path) -> None:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        self._path = path
        self.damaged: str | None = None
        self._store = get_typestore(Stores.EMPTY)
        found: dict[str, tuple[str, int]] = {}
        types: dict = {}
        for schema, channel, _ in self._records():
            if channel.topic not in found and schema.encoding == "ros2msg":
                types.update(get_types_from_msg(schema.data.decode(), schema.name))
            found[channel.topic] = (schema.name, found.get(channel.topic, ("", 0))[1] + 1)
        self._store.register(types)
        self.topics = {name: BagTopic(name, kind, count) for name, (kind, count) in found.items()}
        if not self.topics:
            raise BagError(f"{path} is cut off before its first message: nothing in it can be read")

    def _records(self) -> Iterator[tuple[Any, Any, Any]]:
        """(schema, channel, message) until the file ends, wherever that is."""
        import struct

        import zstandard
        from mcap.exceptions import McapError
        from mcap.records import Channel, Message, Schema
        from mcap.stream_reader import StreamReader

        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        count = 0
        with self._path.open("rb") as stream:
            try:
                for record in StreamReader(_ExactStream(stream)).records:
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        channels[record.id] = record
                    elif isinstance(record, Message) and channels[record.channel_id].schema_id in schemas:
                        channel = channels[record.channel_id]
                        count += 1
                        yield schemas[channel.schema_id], channel, record
            except (McapError, EOFError, ValueError, KeyError, OSError, RuntimeError, struct.error, zstandard.ZstdError) as error:
                self.damaged = f"{self._path.name} is cut off: {count} messages could be read, what follows is lost ({error})"

    def is_latched(self, topic: str) -> bool:
        return False

    def messages(self, topics: list[str] | None) -> Iterator[RawMessage]:
        for schema, channel, message in self._records():
            if topics is None or channel.topic in topics:
                yield RawMessage(channel.topic, schema.name, message.log_time, message.data)

    def deserialize(self, message: RawMessage) -> Any:
        return self._store.deserialize_cdr(message.data, message.type)

    def cdr(self, message: RawMessage) -> bytes:
        return message.data


def _reading_error(path: Path, error: Exception) -> BagError:
    if isinstance(error, BagError):
        return error
    reason = str(error) or type(error).__name__
    if isinstance(error, PermissionError):
        reason = "permission denied"
    return BagError(f"{path} cannot be read: {reason}")
