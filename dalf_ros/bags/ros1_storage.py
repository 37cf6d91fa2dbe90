"""One ROS 1 .bag file, through rosbags."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .raw_message import RawMessage, StoredChannel


class Ros1Storage:
    """channels: as of the other storages; counts are those of all connections of a topic."""

    def __init__(self, path: Path) -> None:
        from rosbags.highlevel import AnyReader

        from ..conversions.message_factory import bag_typestore

        self.damaged: str | None = None
        self.foreign: dict[str, str] = {}
        self._reader = AnyReader([path], default_typestore=bag_typestore())
        self._reader.open()
        self._migrations: dict = {}     # what rosbags remembers between conversions
        self.channels = [StoredChannel(link.topic, link.msgtype, link.msgcount, bool(getattr(link.ext, "latching", None)))
                         for link in self._reader.connections]

    def close(self) -> None:
        self._reader.close()

    def messages(self, topics: set[str] | None) -> Iterator[RawMessage]:
        """In the order of recording times."""
        links = [link for link in self._reader.connections if topics is None or link.topic in topics]
        for link, time_ns, data in self._reader.messages(links) if links else ():
            yield RawMessage(link.topic, link.msgtype, time_ns, data)

    def deserialize(self, message: RawMessage) -> Any:
        return self._reader.deserialize(message.data, message.type)

    def cdr(self, message: RawMessage) -> bytes:
        """The message's bytes as ROS 2 would send them."""
        from rosbags.convert.converter import migrate_bytes

        from ..conversions.message_factory import bag_typestore

        return bytes(migrate_bytes(self._reader.typestore, bag_typestore(), message.type, message.type, self._migrations, message.data,
                                   src_is2=False, dst_is2=True))
