"""Message types as a bag defines them: CDR bytes to objects."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .raw_message import RawMessage, StoredChannel


class MessageTypes:
    """Each type is read by its own definition, on first use: one that cannot be read spoils its topic alone.

    Types without a definition in the bag are those of ROS 2 Jazzy and of this package.
    """

    def __init__(self, channels: Iterable[StoredChannel]) -> None:
        self._definitions = {channel.type: (channel.language, channel.definition) for channel in channels if channel.definition}
        self._stores: dict[str, Any] = {}

    def deserialize(self, message: RawMessage) -> Any:
        """The message as an object with ROS field names. Raises what rosbags raises, KeyError for a type that is not known."""
        if message.type not in self._stores:
            self._stores[message.type] = self._store(message.type)
        return self._stores[message.type].deserialize_cdr(message.data, message.type)

    def _store(self, kind: str) -> Any:
        from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

        from ..conversions.message_factory import bag_typestore

        language, text = self._definitions.get(kind, ("", ""))
        if not text:
            return bag_typestore()
        types: dict = {}
        if language == "msg":
            types.update(get_types_from_msg(text, kind))
        else:
            for part in _idl_parts(text):
                types.update(get_types_from_idl(part))
        store = get_typestore(Stores.EMPTY)
        store.register(types)
        return store


def _idl_parts(text: str) -> list[str]:
    """The files of a definition in IDL, each of which rosbag2 writes below a line of 80 '=' and one with its name."""
    bar = "=" * 80 + "\n"
    if not text.startswith(bar):
        return [text]
    return [part.split("\n", 1)[1] for part in text.split(bar)[1:] if "\n" in part]
