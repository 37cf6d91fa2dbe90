"""Any bag as one stream of raw messages: rosbag2 folders, bare .mcap and .db3 files (also .zstd), ROS 1 .bag, and what a crash leaves."""
from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import mcap_storage, sqlite_storage
from .bag_files import BagFiles, find_files, unpack
from .left_out import LeftOut
from .message_types import MessageTypes
from .raw_message import BagError, BagTopic, RawMessage
from .ros1_storage import Ros1Storage

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BagError", "BagSource", "BagTopic", "RawMessage"]

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"        # CDR begins with a zero
FIRST_MESSAGES = 5                      # of a topic that are tried for what it holds
log = logging.getLogger(__name__)


class BagSource:
    """A bag opened for reading; use it in a `with` block.

    topics: what is in it, by name. damaged: None, or one sentence saying what of the bag could not be read. Channels that are not
    in ROS 2's encoding are left out; a warning names them. So are damaged messages: the first is told at once, their number at the end.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.topics: dict[str, BagTopic] = {}
        self._stack = ExitStack()
        self._storages: list[Any] = []
        self._files = BagFiles([])
        self._types = MessageTypes(())
        self._damaged = LeftOut("are damaged and were left out")

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException as error:
            self._stack.close()
            if isinstance(error, Exception):
                raise _reading_error(self.path, error) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._damaged.tell()

    @property
    def damaged(self) -> str | None:
        remarks = [self._files.remark, *(storage.damaged for storage in self._storages)]
        return "; ".join(remark for remark in remarks if remark) or None

    def messages(self, topics: list[str] | None = None) -> Iterator[RawMessage]:
        """Messages of the named topics (all when None), in the order of their recording. Raises BagError."""
        wanted = None if topics is None else set(topics)
        try:
            for storage in self._storages:
                for raw in storage.messages(wanted):
                    try:
                        plain = _plain(raw)
                    except BagError as error:
                        self._damaged.add(f"{self.path}: {error}")
                        continue
                    yield plain
        except GeneratorExit:
            raise
        except Exception as error:
            raise _reading_error(self.path, error) from error

    def readable(self, topics: list[str] | None = None) -> Iterator[tuple[RawMessage, Any]]:
        """As messages(), each with deserialize() of it; those that are damaged are left out."""
        for raw in self.messages(topics):
            try:
                message = self.deserialize(raw)
            except BagError as error:
                self._damaged.add(str(error))
                continue
            yield raw, message

    def deserialize(self, message: RawMessage) -> Any:
        """The message as an object with ROS field names. Raises BagError when its bytes are not of its type."""
        reader = self._storages[0] if self._is_ros1 else self._types
        try:
            return reader.deserialize(message)
        except Exception as error:
            raise BagError(f"{self.path}: a message on {message.topic} is not a readable {message.type}: {error}") from error

    def cdr(self, message: RawMessage) -> bytes:
        """The message's bytes as ROS 2 sends them, converted where the bag is from ROS 1."""
        return self._storages[0].cdr(message) if self._is_ros1 else message.data

    def is_latched(self, topic: str) -> bool:
        """Whether the topic was recorded from publishers that keep their last message for late subscribers."""
        return topic in self._files.latched or any(channel.latched for storage in self._storages for channel in storage.channels
                                                   if channel.topic == topic)

    @property
    def _is_ros1(self) -> bool:
        return bool(self._storages) and isinstance(self._storages[0], Ros1Storage)

    def _open(self) -> None:
        if self.path.is_file() and self.path.suffix == ".bag" and self.path.stat().st_size > 0:
            self._storages = [self._stack.enter_context(closing(Ros1Storage(self.path)))]
        else:
            self._files = find_files(self.path)
            self._open_files()
        channels = [channel for storage in self._storages for channel in storage.channels]
        self._types = MessageTypes(channels)
        for channel in channels:
            before = self.topics[channel.topic].count if channel.topic in self.topics else 0
            count = None if before is None or channel.count is None else before + channel.count
            self.topics[channel.topic] = BagTopic(channel.topic, channel.type, count)
        self._tell_foreign()
        for name, topic in self.topics.items():
            self.topics[name] = self._with_first_message(topic)

    def _open_files(self) -> None:
        """The storages, in order. A file that a crash has left without anything readable is told, unless it is the only one."""
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        for path in self._files.paths:
            try:
                self._storages.append(self._stack.enter_context(closing(_storage(unpack(path, scratch), scratch))))
            except BagError as error:
                if path != self._files.paths[-1] or not self._storages:
                    raise
                remark = f"{self._files.remark}; " if self._files.remark else ""
                self._files = dataclasses.replace(self._files, remark=f"{remark}nothing of the last file is readable: {error}")

    def _tell_foreign(self) -> None:
        foreign = {name: encoding for storage in self._storages for name, encoding in storage.foreign.items()}
        told = (f"{len(foreign)} channels are not in ROS 2's encoding (cdr) but {', '.join(sorted(set(foreign.values())))}: "
                f"{', '.join(sorted(foreign))}")
        if not self.topics:
            raise BagError(f"{self.path} holds no topics" + (f" of ROS 2; {told}" if foreign else ""))
        if foreign:
            log.warning("%s: %s are left out", self.path, told)

    def _with_first_message(self, topic: BagTopic) -> BagTopic:
        """The topic with encoding and frame of its first readable message, where it carries images or a camera's model."""
        from .topic_kinds import CAMERA_INFO, IMAGE_TYPES, stored_encoding

        if topic.type not in (*IMAGE_TYPES, CAMERA_INFO) or topic.count == 0:
            return topic
        for first in islice(self.messages([topic.name]), FIRST_MESSAGES):
            try:
                message = self.deserialize(first)
            except BagError:        # told when the frame is read
                continue
            frame_id = message.header.frame_id if hasattr(message, "header") else getattr(message, "frame_id", "")
            encoding = stored_encoding(message) if topic.type in IMAGE_TYPES else ""
            return dataclasses.replace(topic, encoding=encoding, frame_id=frame_id)
        return topic


def _storage(path: Path, scratch: Path) -> Any:
    """The reader of a storage file, by what it begins with."""
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(sqlite_storage.MAGIC[: len(head)]) or path.suffix == ".db3":
        return sqlite_storage.SqliteStorage(path, scratch)
    return mcap_storage.McapStorage(path)


def _plain(raw: RawMessage) -> RawMessage:
    """The message, decompressed where the bag has compressed each by itself. Raises BagError."""
    if raw.data[:4] != ZSTD_MAGIC:
        return raw
    import zstandard

    try:
        return dataclasses.replace(raw, data=zstandard.ZstdDecompressor().decompressobj().decompress(raw.data))
    except zstandard.ZstdError as error:
        raise BagError(f"a message on {raw.topic} cannot be decompressed: {error}") from error


def _reading_error(path: Path, error: Exception) -> BagError:
    if isinstance(error, BagError):
        return error
    reason = str(error) or type(error).__name__
    if isinstance(error, PermissionError):
        reason = "permission denied"
    return BagError(f"{path} cannot be read: {reason}")
