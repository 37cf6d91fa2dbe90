"""What bag.launch.py must know of a recording before it starts anything, printed as JSON: topics, image transport, frame.

A program of its own, because `ros2 launch` may run in a Python that has not the libraries that read bags.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .bag_source import BagError, BagSource
from .bag_topics import COMPRESSED, choose_topics

SUFFIX = "/compressed"


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
    """color, depth, camera_info, mask: topics as the nodes name them, empty where there is none; image_transport; frame.

    played: the topics to play, one string with spaces. Raises BagError when the topics cannot be told, or not be read by the nodes.
    """
    with BagSource(options.bag) as source:
        chosen = choose_topics(source.topics, color=options.color_topic, depth=options.depth_topic,
                               camera_info=options.camera_info_topic, mask=options.mask_topic, bag=str(options.bag))
        for name in (chosen.depth, chosen.mask):
            if name and source.topics[name].type == COMPRESSED:
                raise BagError(f"{name} is compressed, which the nodes read for colour alone; ./run register reads it")
        first = next(source.messages([chosen.depth or chosen.color]), None)
        frame = "" if first is None else str(source.deserialize(first).header.frame_id)
        compressed = source.topics[chosen.color].type == COMPRESSED
    if compressed and not chosen.color.endswith(SUFFIX):
        raise BagError(f"{chosen.color} holds compressed images, but its name does not end in {SUFFIX}, which the nodes expect")
    played = [name for name in (chosen.color, chosen.depth, chosen.camera_info, chosen.mask) if name]
    return {
        "color": chosen.color.removesuffix(SUFFIX) if compressed else chosen.color,
        "depth": chosen.depth or "",
        "camera_info": chosen.camera_info or "",
        "mask": chosen.mask or "",
        "image_transport": "compressed" if compressed else "raw",
        "frame": frame,
        "played": " ".join(played),
    }


if __name__ == "__main__":
    sys.exit(main())
