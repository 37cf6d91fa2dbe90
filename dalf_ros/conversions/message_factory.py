"""Plain field dictionaries to messages: rclpy's for the nodes, rosbags' for bags. Both doors share one conversion (messages.py).

A field dictionary has a message's field names; nested messages are dictionaries, arrays of numbers NumPy arrays, arrays of messages
lists of dictionaries. Fields left out keep their default.
"""
from __future__ import annotations

import array
import importlib
import os
import sys
from collections.abc import Callable
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

_TYPECODES = {
    "boolean": "B", "octet": "B", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i",
    "uint64": "Q", "int64": "q", "float": "f", "double": "d",
}  # fmt: skip


@cache
def ros_class(type_name: str) -> Any:
    """The rclpy class of a type such as "sensor_msgs/msg/Image" (or "sensor_msgs/Image")."""
    package, name = type_name.split("/")[0], type_name.split("/")[-1]
    return getattr(importlib.import_module(f"{package}.msg"), name)


def ros_message(type_name: str, fields: dict) -> Any:
    """Field dictionary to an rclpy message. Number arrays become array.array, which the generated setters take without a copy."""
    cls = ros_class(type_name)
    if not any(isinstance(value, (dict, list, np.ndarray)) for value in fields.values()):
        return cls(**fields)   # points and colours come by the thousand: the constructor is the quick way
    message = cls()
    kinds = cls.get_fields_and_field_types()
    for name, value in fields.items():
        setattr(message, name, _ros_value(kinds[name], value))
    return message


def _ros_value(kind: str, value: Any) -> Any:
    if isinstance(value, dict):
        return ros_message(kind, value)
    if not kind.startswith("sequence<"):
        return value
    element = kind[len("sequence<"):-1].split(",")[0]
    if element in _TYPECODES:
        code = _TYPECODES[element]
        numbers = array.array(code)
        numbers.frombytes(np.ascontiguousarray(value, dtype=np.dtype(code)).reshape(-1).view(np.uint8).data)
        return numbers
    if "/" not in element:
        return list(value)
    return _each_once(value, lambda item: ros_message(element, item))


def _each_once(items: list[dict], make: Callable[[dict], Any]) -> list[Any]:
    """Each item made into a message; one that is listed many times (a vertex of many triangles) is made once."""
    made = {key: make(item) for key, item in {id(item): item for item in items}.items()}
    return [made[id(item)] for item in items]


@lru_cache(maxsize=1)
def bag_typestore() -> Any:
    """The rosbags types of ROS 2 Jazzy and of this package, read from its .msg files."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict = {}
    for path in sorted(package_file("msg", "FeatureArray.msg").parent.glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"dalf/msg/{path.stem}"))
    store.register(types)
    return store


def package_file(folder: str, name: str) -> Path:
    """A file of the package that is not Python: in the source tree, or in share/dalf of an installed package. FileNotFoundError."""
    source = Path(__file__).resolve().parents[2]
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]     # the last one is pip's
    installed = [Path(prefix) / "share" / "dalf" for prefix in prefixes]
    for place in (source, *installed):
        if (place / folder / name).is_file():
            return place / folder / name
    raise FileNotFoundError(f"{folder}/{name} of dalf is neither beside the source nor in AMENT_PREFIX_PATH; source the build")


def bag_message(type_name: str, fields: dict) -> Any:
    """Field dictionary to a rosbags message of bag_typestore()."""
    store = bag_typestore()
    members = {}
    for name, kind in store.fielddefs[type_name][1]:
        members[name] = _bag_value(kind, fields[name]) if name in fields else _bag_default(store, kind)
    return store.types[type_name](**members)


@cache
def _bag_maker(type_name: str) -> Callable[[dict], Any]:
    """bag_message of one type; of nothing but numbers and words by its constructor: points and colours come by the thousand."""
    store = bag_typestore()
    cls, declared = store.types[type_name], store.fielddefs[type_name][1]
    if any(node.name != "BASE" for _, (node, _) in declared):
        return partial(bag_message, type_name)
    return lambda fields: cls(**fields) if len(fields) == len(declared) else bag_message(type_name, fields)


def _bag_value(kind: tuple, value: Any) -> Any:
    node, detail = kind
    if node.name == "NAME":
        return bag_message(detail, value)
    if node.name == "BASE":
        return value
    element_node, element = detail[0]
    if element_node.name == "NAME":
        return _each_once(value, _bag_maker(element))
    if element[0] == "string":
        return list(value)
    return np.ascontiguousarray(value, dtype=_numpy_type(element[0])).reshape(-1)


def _bag_default(store: Any, kind: tuple) -> Any:
    node, detail = kind
    if node.name == "NAME":
        return bag_message(detail, {})
    if node.name == "BASE":
        return {"string": "", "wstring": "", "bool": False}.get(detail[0], 0.0 if detail[0].startswith("float") else 0)
    (element_node, element), length = detail
    count = length if node.name == "ARRAY" else 0
    if element_node.name == "NAME" or element[0] == "string":
        return [_bag_default(store, detail[0]) for _ in range(count)]
    return np.zeros(count, _numpy_type(element[0]))


def _numpy_type(name: str) -> np.dtype:
    return np.dtype({"bool": np.uint8, "octet": np.uint8, "byte": np.uint8, "char": np.uint8}.get(name, name))
