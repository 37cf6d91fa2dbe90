"""One mcap file: by its index where it has one, else from its beginning up to its end, or to where a crash has cut it off."""
from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .bag_files import is_latched
from .raw_message import BagError, RawMessage, StoredChannel

MAGIC = b"\x89MCAP0\r\n"
_LANGUAGES = {"ros2msg": "msg", "ros2idl": "idl", "omgidl": "idl"}


class McapStorage:
    """channels: those in ROS 2's encoding. foreign: the others, {topic: encoding}. damaged: None, or what could not be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("rb")
        self.damaged: str | None = None
        self.foreign: dict[str, str] = {}
        self.channels: list[StoredChannel] = []
        try:
            self._reader = self._indexed()
            if self._reader is not None:
                self._channels_of_summary(self._reader.get_summary())
            else:
                self._channels_of_records()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._stream.close()

    def messages(self, topics: set[str] | None) -> Iterator[RawMessage]:
        """In the order of recording times where there is an index, else as they lie in the file."""
        ours = {channel.topic for channel in self.channels}
        wanted = ours if topics is None else ours & topics
        for schema, channel, message in self._records() if self._reader is None else self._reader.iter_messages(topics=wanted):
            if channel.topic in wanted and _is_ours(schema, channel):
                yield RawMessage(channel.topic, schema.name, message.log_time, message.data)

    def _indexed(self) -> Any:
        """A reader that goes by the index; None where the file has none. BagError: it is no mcap file."""
        from mcap.exceptions import McapError
        from mcap.reader import SeekingReader

        if self._stream.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{self._path} cannot be read: it does not begin as an mcap file does")
        self._stream.seek(-len(MAGIC), 2)
        if self._stream.tell() < len(MAGIC) or self._stream.read() != MAGIC:
            self.damaged = f"{self._path.name} is cut off (no end of file record): reading what is there"
            return None
        self._stream.seek(0)
        try:
            reader = SeekingReader(self._stream)
            summary = reader.get_summary()
        except (McapError, EOFError, ValueError, struct.error) as error:
            self.damaged = f"the index of {self._path.name} is damaged ({error}): reading without it"
            return None
        return reader if summary is not None and summary.chunk_indexes and summary.channels else None

    def _channels_of_summary(self, summary: Any) -> None:
        counts = summary.statistics.channel_message_counts if summary.statistics else None
        for channel in summary.channels.values():
            self._add(summary.schemas.get(channel.schema_id), channel, None if counts is None else counts.get(channel.id, 0))

    def _channels_of_records(self) -> None:
        found: dict[int, list] = {}
        for schema, channel, _ in self._records():
            found.setdefault(channel.id, [schema, channel, 0])[2] += 1
        for schema, channel, count in found.values():
            self._add(schema, channel, count)
        if not found and self.damaged:
            raise BagError(f"{self._path} is cut off before its first message: nothing in it can be read")

    def _add(self, schema: Any, channel: Any, count: int | None) -> None:
        if not _is_ours(schema, channel):
            self.foreign[channel.topic] = channel.message_encoding or "no encoding"
            return
        language = _LANGUAGES.get(schema.encoding, "")
        definition = schema.data.decode(errors="replace") if language else ""
        self.channels.append(StoredChannel(channel.topic, schema.name, count, is_latched(channel.metadata.get("offered_qos_profiles")),
                                           language, definition))

    def _records(self) -> Iterator[tuple[Any, Any, Any]]:
        """(schema or None, channel, message) until the file ends, wherever that is."""
        import zstandard
        from mcap.exceptions import McapError
        from mcap.records import Channel, Message, Schema
        from mcap.stream_reader import StreamReader

        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        count = 0
        with self._path.open("rb") as stream:
            try:
                for record in StreamReader(_ExactStream(stream)).records:  # type: ignore[arg-type]
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        channels[record.id] = record
                    elif isinstance(record, Message):
                        channel = channels[record.channel_id]
                        count += 1
                        yield schemas.get(channel.schema_id), channel, record
            except (McapError, EOFError, ValueError, KeyError, OSError, RuntimeError, struct.error, zstandard.ZstdError) as error:
                self.damaged = f"{self._path.name} is cut off: {count} messages could be read, what follows is lost ({error})"


def _is_ours(schema: Any, channel: Any) -> bool:
    """Whether the messages of a channel are ROS 2's."""
    return channel.message_encoding == "cdr" and schema is not None and schema.name != ""


class _ExactStream:
    """A file whose reads are whole or an error: a record cut in the middle must not pass for a short one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the file ends inside a record")
        return data
