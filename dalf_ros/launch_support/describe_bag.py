"""What bag.launch.py must know of a recording before it starts anything, printed as JSON: topics, transports, frame.

A program of its own, because `ros2 launch` may run in a Python that has not the libraries that read bags.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..bags.bag_source import BagError, BagSource
from ..bags.bag_topics import CLOUD, COMPRESSED, IMAGE, choose_topics
from ..conversions import topics


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="describe_bag", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bag", type=Path)
    for option in ("--color-topic", "--depth-topic", "--camera-info-topic", "--mask-topic"):
        p.add_argument(option, metavar="TOPIC")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 described, 2 an error."""
    options = parser().parse_args(args)
    try:
        print(json.dumps(describe(options)))
    except (BagError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def describe(options: argparse.Namespace) -> dict[str, str]:
    """color, depth, camera_info, mask: topics as the nodes name them, empty where there is none; frame.

    image_transport, depth_transport: the nodes' parameters. played: the topics to play, one string with spaces.
    Raises BagError when the topics cannot be told, or not be read by the nodes.
    """
    with BagSource(options.bag) as source:
        chosen = choose_topics(source.topics, color=options.color_topic, depth=options.depth_topic,
                               camera_info=options.camera_info_topic, mask=options.mask_topic, bag=str(options.bag))
        color, image_transport = _transport(source, chosen.color, topics.IMAGE_TRANSPORTS)
        depth, depth_transport = _transport(source, chosen.depth, topics.DEPTH_TRANSPORTS)
        mask, _ = _transport(source, chosen.mask, ("raw",))
        aligned = None if depth_transport == topics.CLOUD else chosen.depth      # of a cloud results are in the images' frame
        frame = source.topics[aligned or chosen.color].frame_id
    played = [name for name in (chosen.color, chosen.depth, chosen.camera_info, chosen.mask) if name]
    return {"color": color, "depth": depth, "camera_info": chosen.camera_info or "", "mask": mask, "image_transport": image_transport,
            "depth_transport": depth_transport, "frame": frame, "played": " ".join(played)}


def _transport(source: BagSource, name: str | None, readable: tuple[str, ...]) -> tuple[str, str]:
    """A recorded topic as image_transport splits it: the topic that it belongs to, and the transport. Raises BagError."""
    if not name or source.topics[name].type == IMAGE:
        return name or "", "raw"
    if source.topics[name].type == CLOUD:
        return name, topics.CLOUD       # only depth may be one
    topic, _, transport = name.rpartition("/")
    packed = [known for known in readable if known in topics.PACKED]
    if transport not in packed or source.topics[name].type != COMPRESSED:
        expected = " or ".join(f"{topic}/{known}" for known in packed) or "an Image"
        kind = source.topics[name].type.rpartition("/")[2]
        raise BagError(f"{name} is a {kind}, where the nodes expect {expected}; ./run register reads any of them")
    return topic, transport


if __name__ == "__main__":
    sys.exit(main())
