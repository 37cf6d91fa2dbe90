"""Malformed and odd messages thrown at live node objects: whatever comes, a frame is processed or refused by ValueError, never worse.

Messages go through the nodes' own callbacks, joiners and process(), as on the worker thread; every result that is asked for is built as a
real message. DALF_FUZZ_EXAMPLES sets how many sequences each test tries (default 150; 10000 for a thorough run).
"""
from __future__ import annotations

import array
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dalf_core.depth import is_reading
from dalf_core.features.image_input import to_gray
from dalf_core.types import Features
from dalf_ros.conversions import topics
from dalf_ros.conversions.message_factory import ros_class, ros_message
from dalf_ros.conversions.messages import header, stamp_ns
from dalf_ros.conversions.stamps import StampGuard
from dalf_ros.images import image_conversion

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("dalf.msg")

EXAMPLES = int(os.environ.get("DALF_FUZZ_EXAMPLES", "150"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize="DALF_FUZZ_EXAMPLES" not in os.environ,
                suppress_health_check=list(HealthCheck))
WIDTH, HEIGHT = 48, 36
FRAME = "camera"
BASE_NS = 1_700_000_000 * 10**9
STEP_NS = 33_000_000


# ---------------------------------------------------------------- odd messages

wild_counts = st.sampled_from([0, 1, 2, 7, 65535, 2**31 - 1, 2**32 - 1])
wild_floats = st.sampled_from([0.0, -0.0, 1e-30, -1.0, 1e38, math.inf, -math.inf, math.nan]) | st.floats(width=32)
codes = st.integers(0, 255)


@st.composite
def headers(draw: Any, number: int, odd: bool) -> Any:
    """The stamp of frame `number`; when odd at times negative, at the end of time, or with too many nanoseconds."""
    cls = ros_class("std_msgs/msg/Header")
    kind = draw(st.integers(0, 5)) if odd else None
    second, nanosecond = divmod(BASE_NS + number * STEP_NS, 10**9)
    if kind == 0:
        second, nanosecond = draw(st.integers(-(2**31), 2**31 - 1)), draw(st.integers(0, 2**32 - 1))
    elif kind == 1:
        second, nanosecond = draw(st.sampled_from([(-1, 0), (0, 0), (-(2**31), 2**32 - 1), (2**31 - 1, 2**32 - 1)]))
    message = cls(frame_id=draw(st.sampled_from(["", "other", "/" + FRAME, "é"])) if kind == 2 else FRAME)
    message.stamp.sec, message.stamp.nanosec = second, nanosecond
    return message


def texture(channels: int, item: int) -> bytes:
    rng = np.random.default_rng(3)
    return cv2.resize(rng.integers(0, 256, (9, 12 * channels * item), np.uint8), (WIDTH * channels * item, HEIGHT)).tobytes()


def depth_bytes(encoding: str) -> bytes:
    metres = 0.6 + 0.05 * np.sin(np.arange(WIDTH) / 8.0) * np.ones((HEIGHT, 1))
    return (metres.astype("<f4") if encoding == "32FC1" else (1000 * metres).astype("<u2")).tobytes()


@st.composite
def images(draw: Any, number: int, odd: bool, encodings: tuple[str, ...]) -> Any:
    """An Image that is right; when odd but for some of its fields."""
    cls = ros_class("sensor_msgs/msg/Image")
    encoding = draw(st.sampled_from(encodings))
    kind, channels = image_conversion.LAYOUT[encoding]
    item = np.dtype(kind).itemsize
    depth = encoding in ("16UC1", "32FC1")
    fields = {"height": HEIGHT, "width": WIDTH, "step": WIDTH * channels * item, "encoding": encoding, "is_bigendian": 0,
              "data": depth_bytes(encoding) if depth else texture(channels, item)}
    changes = {
        "height": wild_counts | st.integers(1, 40), "width": wild_counts | st.integers(1, 60), "step": wild_counts | st.integers(0, 400),
        "encoding": st.sampled_from([*image_conversion.LAYOUT, "", "rgb16", "32FC3", "BGR8", "nv21", "16UC1; png"]), "is_bigendian": codes,
        "data": st.binary(max_size=64) | st.integers(0, 20000).map(bytes) | st.just(b"\x00\x00\xc0\x7f" * (WIDTH * HEIGHT))
        | st.randoms(use_true_random=False).map(lambda r: r.randbytes(WIDTH * HEIGHT * channels * item)),
    }
    for name in draw(st.lists(st.sampled_from(sorted(changes)), max_size=3, unique=True)) if odd else ():
        fields[name] = draw(changes[name])
    fields["data"] = array.array("B", fields["data"])
    return cls(header=draw(headers(number, odd)), **fields)


@st.composite
def compressed_images(draw: Any, number: int, odd: bool) -> Any:
    """Garbage, cut-off or lying CompressedImages, and good ones."""
    pixels = np.frombuffer(texture(3, 1), np.uint8).reshape(HEIGHT, WIDTH, 3)
    good = [cv2.imencode(suffix, pixels)[1].tobytes() for suffix in (".jpg", ".png")]
    data = draw(st.sampled_from(good))
    how = draw(st.integers(0, 3)) if odd else None
    if how == 0:
        data = draw(st.binary(max_size=300))
    elif how == 1:
        data = data[:draw(st.integers(0, len(data)))]
    elif how == 2:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at + 1:]
    formats = ["jpeg", "png", "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth png", "", "h264", "zstd"]
    return ros_class("sensor_msgs/msg/CompressedImage")(header=draw(headers(number, odd)), format=draw(st.sampled_from(formats)),
                                                        data=array.array("B", data))


@st.composite
def camera_infos(draw: Any, number: int, odd: bool) -> Any:
    """A CameraInfo that is right; when odd but for some numbers."""
    message = ros_class("sensor_msgs/msg/CameraInfo")(header=draw(headers(number, odd)), width=WIDTH, height=HEIGHT)
    k = [50.0, 0.0, WIDTH / 2, 0.0, 50.0, HEIGHT / 2, 0.0, 0.0, 1.0]
    p = [50.0, 0.0, WIDTH / 2, 0.0, 0.0, 50.0, HEIGHT / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    for _ in range(draw(st.integers(0, 3)) if odd else 0):
        k[draw(st.integers(0, 8))] = draw(wild_floats)
        p[draw(st.integers(0, 11))] = draw(wild_floats)
    message.k, message.p = k, p
    models = ["plumb_bob", "rational_polynomial", "equidistant", "", "unheard_of"]
    message.distortion_model = draw(st.sampled_from(models)) if odd else models[0]
    message.d = draw(st.just([0.0] * 5) | st.lists(wild_floats | st.floats(-0.3, 0.3), max_size=14)) if odd else [0.0] * 5
    if odd and draw(st.integers(0, 3)) == 0:
        message.width, message.height = draw(wild_counts), draw(wild_counts)
    return message


@st.composite
def match_arrays(draw: Any, number: int, odd: bool) -> Any:
    """A MatchArray of a grid of matches that is right; when odd but for some arrays."""
    cls = ros_class("dalf/msg/MatchArray")
    grid = np.stack(np.meshgrid(np.arange(4.0, WIDTH, 6), np.arange(4.0, HEIGHT, 6)), axis=-1).reshape(-1).astype(np.float32)
    count = len(grid) // 2
    index = array.array("I", range(count))
    fields = {"width": WIDTH, "height": HEIGHT, "reference_width": WIDTH, "reference_height": HEIGHT, "reference_index": index,
              "query_index": index, "reference_xy": array.array("f", grid), "query_xy": array.array("f", grid),
              "distance": array.array("f", [0.5] * count), "inlier": array.array("B", [1] * count)}
    floats = st.lists(wild_floats, max_size=6).map(lambda values: array.array("f", values))
    some = st.tuples(st.integers(0, 2 * count - 1), wild_floats).map(
        lambda change: array.array("f", [change[1] if i == change[0] else v for i, v in enumerate(grid.tolist())]))
    indices = st.lists(wild_counts, max_size=6).map(lambda v: array.array("I", v)) | st.lists(
        wild_counts | st.integers(0, 60), min_size=count, max_size=count).map(lambda v: array.array("I", v))
    changes = {"width": wild_counts, "height": wild_counts, "reference_width": wild_counts, "reference_height": wild_counts,
               "reference_index": indices, "query_index": indices, "reference_xy": floats | some, "query_xy": floats | some,
               "distance": floats, "inlier": st.binary(max_size=count).map(lambda v: array.array("B", v))
               | st.binary(min_size=count, max_size=count).map(lambda v: array.array("B", v))}
    for name in draw(st.lists(st.sampled_from(sorted(changes)), max_size=3, unique=True)) if odd else ():
        fields[name] = draw(changes[name])
    empty = odd and draw(st.integers(0, 9)) == 0
    fields |= {name: value[:0] for name, value in fields.items() if empty and isinstance(value, array.array)}
    reference = draw(headers(draw(st.sampled_from([0, 0, number])), odd)) if odd else draw(headers(0, False))
    return cls(header=draw(headers(number, odd)), reference_header=reference, **fields)


@st.composite
def predictions(draw: Any, number: int, odd: bool) -> Any:
    """A LandmarkPrediction of the stand-in's keypoints, some of them anywhere; when odd with any lengths and numbers."""
    cls = ros_class("dalf/msg/LandmarkPrediction")
    lengths = draw(st.lists(st.integers(0, 8), min_size=4, max_size=4)) if odd else [8] * 4
    several = [draw(st.lists(values, min_size=n, max_size=n)) for values, n in zip(
        (wild_counts | st.just(0), wild_counts | st.integers(0, 60), wild_floats | st.floats(0, WIDTH, width=32), st.integers(0, 1)),
        (lengths[0], lengths[1], 2 * lengths[2], lengths[3]))]
    arrays = {name: array.array(code, values) for (name, code), values in zip((("view", "I"), ("index", "I"), ("xy", "f"),
                                                                               ("visible", "B")), several)}
    return cls(header=draw(headers(number, odd)), reference_header=draw(headers(0, odd)), **arrays)


COLORS = ("bgr8", "rgb8", "mono8", "mono16", "bgra8", "yuv422", "bayer_rggb8")
MASKS = ("mono8", "bgr8", "16UC1")
DEPTHS = ("16UC1", "32FC1")


class Arrival:
    """A message and the role it comes in; its text leaves out what is long."""

    def __init__(self, role: str, message: Any) -> None:
        self.role, self.message = role, message

    def __repr__(self) -> str:
        return f"{self.role}: " + re.sub(r"\[[^\]]{200,}\]", "[...]", str(self.message))


@st.composite
def sequences(draw: Any, roles: dict[str, Callable[[int, bool], Any]]) -> list[Arrival]:
    """Some frames of messages, in any order within a frame; a few of them odd, a few missing."""
    frames = draw(st.integers(1, 3))
    places = st.sets(st.tuples(st.integers(0, frames - 1), st.sampled_from(sorted(roles))), max_size=3)
    odd, missing = draw(places), draw(places) if draw(st.integers(0, 4)) == 0 else set()
    return [Arrival(role, draw(roles[role](number, (number, role) in odd)))
            for number in range(frames) for role in draw(st.permutations(sorted(roles))) if (number, role) not in missing]


# ---------------------------------------------------------------- live node objects

class Callbacks:
    """Stands in for a node's subscriptions: the callbacks by role."""

    def __init__(self) -> None:
        self.by_role: dict[str, Callable[[Any], None]] = {}
        self.received: dict[str, int] = defaultdict(int)

    def add(self, role: str, topic: str, type_name: str, callback: Callable[[Any], None], *_: Any, **__: Any) -> None:
        self.by_role[role] = callback

    def add_image(self, role: str, topic: str, callback: Callable[[Any], None], *_: Any, **__: Any) -> None:
        self.by_role[role] = callback

    def camera_info_topic(self, name: str, image: str) -> tuple[str, str]:      # noqa: ARG002
        return name, "as the test has it"

    def topic(self, role: str) -> str:
        return f"/{role}"


class Messages:
    """Stands in for a node's publishers, each with a subscriber: builds every message."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = set(names)
        self.count = 0

    def wanted(self) -> set[str]:
        return self._names

    def publish(self, messages: Any) -> None:
        from rclpy.serialization import serialize_message

        for name, fields in messages:
            serialize_message(ros_message(topics.TYPES[name], fields))
            self.count += 1


class Extractor:
    """Stands in for the network: corners, with the pixels around them as descriptors. Refuses what DALF refuses."""

    device, backend, precision, weights = "cpu", "stand-in", "float32", "none"

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        if mask is not None and mask.shape != image.shape[:2]:
            raise ValueError("the mask is not of the image's size")
        gray = (255 * to_gray(image)).astype(np.uint8)
        found = cv2.goodFeaturesToTrack(gray, 60, 0.01, 3, mask=None if mask is None else mask.astype(np.uint8))
        xy = np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)
        around = cv2.copyMakeBorder(gray, 3, 4, 3, 4, cv2.BORDER_REPLICATE).astype(np.float32)
        patches = np.array([around[int(y):int(y) + 7, int(x):int(x) + 7].ravel() for x, y in xy], np.float32).reshape(len(xy), 49)
        patches -= patches.mean(axis=1, keepdims=True) - 1e-3
        return Features(xy, np.ones(len(xy), np.float32), patches / np.linalg.norm(patches, axis=1, keepdims=True), gray.shape[::-1])


class Fuzzed:
    """A configured node whose inputs are the test and whose worker is the test."""

    def __init__(self, node: Any, names: tuple[str, ...]) -> None:
        self.node, self.messages, callbacks = node, Messages(names), Callbacks()
        node.load()
        node.inputs, node.outputs = callbacks, self.messages
        node.listen()
        self.callbacks = callbacks.by_role
        self.processed = self.refused = 0

    def feed(self, sequence: list[Arrival]) -> None:
        """Begin anew; every message through its callback, every complete frame through process()."""
        self.node.forget()
        self.node.synchronizer.clear()
        self.node._guard = StampGuard()
        if hasattr(self.node, "_views"):
            self.node._views._info = None
        for arrival in sequence:
            self.callbacks[arrival.role](arrival.message)
            item = self.node.mailbox.take(0)
            if item is None:
                continue
            before = self.node.statistics.refused
            try:
                self.node.process(item[1])
                self._in_background()
                self.processed += 1
            except ValueError as error:
                self.node.refuse(str(error))
            self.refused += self.node.statistics.refused > before

    def _in_background(self) -> None:
        """What feature_node leaves to other threads, done before the next message."""
        if getattr(self.node, "_executor", None) is None:
            return
        self.node._executor.submit(int).result()        # DALF has looked
        while self.node._jobs:
            self.node._jobs.pop(0)()


@pytest.fixture(scope="module")
def ros() -> Iterator[None]:
    rclpy.init(args=["--ros-args", "--log-level", "fatal"])
    yield
    rclpy.try_shutdown()


def make_node(cls: type, **parameters: Any) -> Any:
    """A node with parameters, as the command line would give them."""
    class Configured(cls):  # type: ignore[misc, valid-type]
        def declare_parameter(self, name: str, value: Any, *rest: Any, **more: Any) -> Any:
            return super().declare_parameter(name, parameters.get(name, value), *rest, **more)

    return Configured()


@pytest.fixture(scope="module")
def feature_node(ros: None) -> Iterator[Fuzzed]:
    import dalf_core
    from dalf_ros.feature_node import FeatureNode

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dalf_core, "DALF", Extractor)
        fuzzed = Fuzzed(make_node(FeatureNode, use_mask=True), topics.FEATURE_TOPICS)
    yield fuzzed
    fuzzed.node.destroy_node()


@pytest.fixture(scope="module")
def registration_node(ros: None) -> Iterator[Fuzzed]:
    from dalf_ros.registration_node import RegistrationNode

    fuzzed = Fuzzed(make_node(RegistrationNode, use_mask=True, grow_to=3000), topics.SURFACE_TOPICS)
    yield fuzzed
    fuzzed.node.destroy_node()


@FUZZ
@given(sequence=sequences({"image": lambda n, odd: images(n, odd, COLORS) | compressed_images(n, odd),
                           "mask": lambda n, odd: images(n, odd, MASKS), "prediction": predictions}))
def test_feature_node(feature_node: Fuzzed, sequence: list[Arrival]) -> None:
    feature_node.feed(sequence)


@settings(FUZZ, max_examples=EXAMPLES if "DALF_FUZZ_EXAMPLES" in os.environ else EXAMPLES // 2)     # each costs some registrations
@given(sequence=sequences({"matches": match_arrays, "depth": lambda n, odd: images(n, odd, DEPTHS), "camera_info": camera_infos,
                           "image": lambda n, odd: images(n, odd, COLORS), "mask": lambda n, odd: images(n, odd, MASKS)}))
def test_registration_node(registration_node: Fuzzed, sequence: list[Arrival]) -> None:
    registration_node.feed(sequence)


def test_the_fuzzing_reached_both_outcomes(feature_node: Fuzzed, registration_node: Fuzzed) -> None:
    """Not all was refused at the door: surfaces and matches were made of the odd messages too."""
    for fuzzed in (feature_node, registration_node):
        print(f"{fuzzed.node.get_name()}: {fuzzed.processed} processed, {fuzzed.refused} refused, {fuzzed.messages.count} results")
        assert fuzzed.processed > EXAMPLES / 20 and fuzzed.refused > EXAMPLES / 20 and fuzzed.messages.count > fuzzed.processed


# ---------------------------------------------------------------- what conversion promises

@FUZZ
@given(data=st.data())
def test_depth_is_a_reading_or_nothing(data: Any) -> None:
    """to_depth: metres that a camera can measure, or NaN; compressed depth with any header included."""
    message = data.draw(images(0, True, DEPTHS) | inverse_depths())
    try:
        depth = image_conversion.to_depth(message)
    except image_conversion.ImageError:
        return
    assert depth.dtype == np.float32 and (np.isnan(depth) | is_reading(depth)).all()


@st.composite
def inverse_depths(draw: Any) -> Any:
    """compressedDepth of 32FC1: twelve bytes of header with any two floats, then a PNG of 16 bits."""
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8) * draw(st.sampled_from([0, 1, 1300]))
    numbers = np.array([draw(wild_floats), draw(wild_floats)], "<f4").tobytes()
    data = draw(st.binary(min_size=4, max_size=4)) + numbers + cv2.imencode(".png", pixels)[1].tobytes()
    return SimpleNamespace(format="32FC1; compressedDepth png", data=data[:draw(st.sampled_from([len(data), 12, 7, 0]))])


@FUZZ
@given(message=headers(0, True))
def test_stamps_come_back_or_are_refused(message: Any) -> None:
    """A header that is made of a message's stamp is the same moment, whatever the stamp."""
    stamp = stamp_ns(message)
    from rclpy.serialization import deserialize_message, serialize_message

    try:
        sent = serialize_message(ros_message("std_msgs/msg/Header", header(stamp, message.frame_id)))
    except ValueError:
        assert not -(2**31) <= stamp // 10**9 < 2**31
        return
    assert stamp_ns(deserialize_message(sent, ros_class("std_msgs/msg/Header"))) == stamp


def test_a_picture_that_claims_to_be_huge_is_refused_without_its_memory() -> None:
    """A PNG of some bytes that says it has a billion pixels."""
    import resource
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", 32000, 32000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(image_conversion.ImageError):
        image_conversion.to_color(SimpleNamespace(format="png", data=png))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_refusal_that_repeats_is_logged_once(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalf_ros.registration_node import RegistrationNode

    node = make_node(RegistrationNode)
    said: list[str] = []
    monkeypatch.setattr(node, "get_logger", lambda: SimpleNamespace(warning=said.append, error=said.append))
    for number in range(500):
        node.refuse(f"data holds {number} bytes, less than height*step")
    assert len(said) == 1 and node.statistics.refused == 500
    node.destroy_node()


@pytest.mark.slow
def test_feature_node_with_the_network(official_weights: Path, ros: None) -> None:
    """The same with the real extractor, on fewer messages."""
    from dalf_ros.feature_node import FeatureNode

    fuzzed = Fuzzed(make_node(FeatureNode, use_mask=True, top_k=64), topics.FEATURE_TOPICS)

    @settings(FUZZ, max_examples=max(EXAMPLES // 20, 10))
    @given(sequence=sequences({"image": lambda n, odd: images(n, odd, COLORS), "mask": lambda n, odd: images(n, odd, MASKS)}))
    def feed(sequence: list[Arrival]) -> None:
        fuzzed.feed(sequence)

    feed()
    assert fuzzed.processed         # so few examples need not hold one that is refused
    fuzzed.node.destroy_node()
