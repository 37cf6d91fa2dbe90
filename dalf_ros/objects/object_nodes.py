"""The registration_node of each object, in the namespace objects/NAME below that of the feature_node."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..registration_node import RegistrationNode
from .feature_lanes import below
from .object_files import object_files

SHARED = ("depth", "image", "mask")                         # topics that all objects are seen by
IF_REMAPPED = ("camera_info", "depth_camera_info")          # else they are found beside the images


def registration_nodes(features: Any) -> Iterator[RegistrationNode]:
    """One a template of the parameter `objects` of a feature_node, or the one that there is without; each is made when it is asked for.

    They hear the camera's topics where a registration_node beside the feature_node would. Raises ParameterError.
    """
    names = object_files(features.values["objects"])
    if not names:
        yield RegistrationNode()
    for name in names:
        rules = [f"__ns:={features.get_namespace().rstrip('/')}/{below(name).rstrip('/')}"]
        rules += [f"{topic}:={features.resolve_topic_name(topic)}" for topic in SHARED]
        rules += [f"{topic}:={features.resolve_topic_name(topic)}" for topic in IF_REMAPPED
                  if features.resolve_topic_name(topic) != features.resolve_topic_name(topic, only_expand=True)]
        yield RegistrationNode(["--ros-args", *(word for rule in rules for word in ("-r", rule))], len(names))
