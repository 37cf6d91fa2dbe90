"""Harder recordings made from the simulated cloth: it is covered for a while, or turns away from the camera and back."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..bags.bag_reader import RgbdFrame, read_frames
from ..bags.bag_source import BagSource
from ..bags.bag_topics import choose_topics
from ..bags.bag_writer import BagWriter
from .cloth import DURATION_S, ClothMotion
from .recording import FIRST_STAMP_NS, FRAME_ID, MASK_TOPIC, Frame, observe, write_frame
from .truth import GroundTruth

SCENES = ("cloth", "covered", "turned", "rolled")
COVERED_FOR = 10                    # frames
COVERED_AT = {"cloth": (), "covered": (50, 130), "turned": (52,), "rolled": (52,)}     # the first covered frames
CARD_M, CARD_GREY = 0.40, 110
TURNED_FRAMES = 110
TURNED_BY = {"turned": (75.0, 0.0), "rolled": (60.0, 150.0)}       # degrees about a vertical axis, and then in the image plane
RATE_HZ = 30.0


def covers(name: str) -> tuple[range, ...]:
    """The numbers of the frames that each cover hides."""
    return tuple(range(start, start + COVERED_FOR) for start in COVERED_AT[name])


def recorded(bag: Path) -> list[RgbdFrame]:
    """A simulated recording, with its masks."""
    with BagSource(bag) as source:
        return list(read_frames(source, choose_topics(source.topics, mask=MASK_TOPIC, bag=str(bag)), 0.02))


def turned(name: str, truth: GroundTruth, seed: int, progress: Callable[[], None] = lambda: None) -> tuple[list[RgbdFrame], GroundTruth]:
    """The first second and a half of the cloth's motion, slowed, while it turns away, stays, and turns back; with its truth.

    name: of TURNED_BY. progress: called after every frame.
    """
    number = np.arange(TURNED_FRAMES)
    share = np.interp(number, [3, 45, 70, TURNED_FRAMES - 3], [0, 1, 1, 0])
    part = 0.5 * (1 - np.cos(np.pi * share))
    R = Rotation.from_euler("yz", np.outer(part, TURNED_BY[name]), degrees=True).as_matrix()
    still, middle = truth.vertices[np.minimum(number * 45 // TURNED_FRAMES, len(truth.vertices) - 1)], truth.vertices[0].mean(axis=0)
    vertices = (np.einsum("tij,tvj->tvi", R, still - middle) + middle).astype(np.float32)
    motion = ClothMotion(vertices, truth.triangles, truth.uv, number / 60)      # over before the hand comes
    stamps = FIRST_STAMP_NS + np.rint(number / RATE_HZ * 1e9).astype(np.int64)
    frames, visible = [], []
    for stamp, frame in zip(stamps.tolist(), observe(motion, truth.camera, seed)):
        frames.append(RgbdFrame(stamp, FRAME_ID, frame.color, frame.depth_mm * np.float32(1e-3), frame.mask))
        visible.append(frame.visible)
        progress()
    return frames, replace(truth, vertices=vertices, visible=np.array(visible), stamps_ns=stamps)


def covered(frames: Iterable[RgbdFrame], hidden: Sequence[range]) -> Iterator[RgbdFrame]:
    """The frames, where a grey card fills the view for a while. hidden: see covers."""
    for number, frame in enumerate(frames):
        if any(number in span for span in hidden):
            noise = np.random.default_rng(number).normal(0, 3, frame.image.shape)
            frame = replace(frame, image=(CARD_GREY + noise).astype(np.uint8), depth_m=np.full_like(frame.depth_m, CARD_M),
                            mask=np.full_like(frame.mask, 255))
        yield frame


def record_scene(name: str, source: Path, target: Path, seed: int = 0, progress: Callable[[], None] = lambda: None) -> GroundTruth:
    """Write bag/ and truth.npz of a scene into the folder `target`, from those of a simulated recording in `source`.

    Raises ValueError for a recording of other than 30 images a second, which the scenes are made for.
    """
    truth = GroundTruth.load(source / "truth.npz")
    if len(truth.stamps_ns) != DURATION_S * RATE_HZ:
        raise ValueError(f"{source} has {len(truth.stamps_ns)} frames; a scene is made from the {DURATION_S * RATE_HZ:g} of ./run demo")
    frames, truth = turned(name, truth, seed, progress) if name in TURNED_BY else (recorded(source / "bag"), truth)
    with BagWriter(target / "bag") as bag:
        for frame in covered(frames, covers(name)):
            depth_mm = np.rint(1e3 * np.nan_to_num(frame.depth_m)).astype(np.uint16)
            write_frame(bag, Frame(frame.stamp_ns, frame.image, depth_mm, frame.mask, np.zeros(0, bool)), truth.camera)
    truth.save(target / "truth.npz")
    return truth
