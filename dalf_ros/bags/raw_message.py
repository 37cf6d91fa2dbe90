"""What a bag is made of: topics and messages as they are stored; and the error of what cannot be read or written."""
from __future__ import annotations

from dataclasses import dataclass


class BagError(Exception):
    """A bag that cannot be read or written, in one line fit for the user."""


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag. count: messages in it; None where the bag has lost its index.

    encoding, frame_id: of the first message of image topics (frame_id of camera_info topics too), as stored_encoding says; else empty.
    """

    name: str
    type: str
    count: int | None
    encoding: str = ""
    frame_id: str = ""


@dataclass(frozen=True)
class RawMessage:
    """One message as it is stored. time_ns: when it was recorded. data: CDR bytes (ROS 1 bags: ROS 1 bytes)."""

    topic: str
    type: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class StoredChannel:
    """One channel of a storage file. definition: text of its message type with that of its parts, and its language (msg or idl)."""

    topic: str
    type: str
    count: int | None
    latched: bool = False
    language: str = ""
    definition: str = ""
