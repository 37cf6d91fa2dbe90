"""A rosbag2 recording in mcap, written so that whatever happens it can be read afterwards."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from ..conversions import topics as topic_names
from ..conversions.message_factory import bag_message, bag_typestore
from .bag_source import BagError

if TYPE_CHECKING:
    from typing_extensions import Self

_FOREVER = QosTime(9223372036, 854775807)   # how rosbag2 writes an unbounded duration
NODE_OF_PRIVATE_TOPICS = "feature_node"


def bag_topic(name: str) -> str:
    """The full name of one of our topics when the nodes run without a namespace."""
    return f"/{NODE_OF_PRIVATE_TOPICS}/{name[2:]}" if name.startswith("~/") else f"/{name}"


class BagWriter:
    """Writes messages to the folder `path` (metadata.yaml and one mcap). Use it in a `with` block.

    However the block is left, the recording is closed with its index: what was written can be read. An interrupt in the middle of
    a write would spoil it, so loops take Ctrl-C through Interruption.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP) if not self.path.exists() else None
        if self._writer is None:
            raise BagError(f"{self.path} exists already and is not overwritten")
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._links: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._writer.open()
        except (OSError, WriterError) as error:
            raise BagError(f"{self.path} cannot be written: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write_results(self, results: Iterable[tuple[str, dict]], time_ns: int) -> None:
        """Write (topic, fields) pairs of our own topics, recorded at time_ns."""
        for name, fields in results:
            self.write(bag_topic(name), topic_names.TYPES[name], time_ns, fields, latched=name in topic_names.LATCHED)

    def write(self, topic: str, type_name: str, time_ns: int, fields: dict, *, latched: bool = False) -> None:
        """Write one message given by its fields."""
        data = bag_typestore().serialize_cdr(bag_message(type_name, fields), type_name)
        self.write_raw(topic, type_name, time_ns, data, latched=latched)

    def write_raw(self, topic: str, type_name: str, time_ns: int, data: bytes | memoryview, *, latched: bool = False) -> None:
        """Write one message given by its CDR bytes."""
        if topic not in self._links:
            self._links[topic] = self._writer.add_connection(topic, type_name, typestore=bag_typestore(),
                                                             offered_qos_profiles=[_qos(latched)])
        try:
            self._writer.write(self._links[topic], time_ns, data)
        except OSError as error:
            raise BagError(f"{self.path} cannot be written: {error}") from error
        self.count += 1

    def close(self) -> None:
        """Write the index and metadata.yaml. Harmless when called twice."""
        if self._writer.storage is None:
            return
        if not self.count:
            self._writer.min_timestamp = 0      # of an empty recording, where readers expect a number that fits
        try:
            self._writer.close()
        except OSError as error:
            raise BagError(f"{self.path} cannot be finished: {error}") from error


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    return Qos(QosHistory.KEEP_LAST, 1 if latched else 5, QosReliability.RELIABLE, durability, _FOREVER, _FOREVER,
               QosLiveliness.AUTOMATIC, _FOREVER, avoid_ros_namespace_conventions=False)
