"""A deforming mesh as glTF 2.0: each frame a morph target, played by an animation of their weights."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .episode import DatasetError, Episode

TO_GLTF = np.array([1, -1, -1], np.float32)     # from x right, y down, z forward to x right, y up, z backward: half a turn about x
MOST_TARGETS = 400          # frames: weights grow with their square, and programs keep all targets in memory


def write_gltf(path: Path, episode: Episode, most: int = MOST_TARGETS) -> int:
    """Write a .glb of the frames with a surface, of more than `most` every k-th; returns k.

    Metres, y up, vertex colours, one node named after the episode. Seconds of the animation are those of the recording. Between two frames
    vertices move straight. Raises DatasetError: no frame has a surface.
    """
    import pygltflib as gltf

    known = np.flatnonzero(np.isfinite(episode.vertices).all(axis=(1, 2)))
    if not len(known):
        raise DatasetError(f"{episode.name} has no frame with a surface: there is no mesh to write")
    every = -(-len(known) // most)
    frames = known[::every]
    base = episode.reference * TO_GLTF
    targets = episode.vertices[frames] * TO_GLTF - base
    times = ((episode.stamp_ns[frames] - episode.stamp_ns[frames[0]]) / 1e9).astype(np.float32)
    buffer = _Buffer()
    attributes = gltf.Attributes(POSITION=buffer.add(base.astype(np.float32), "VEC3", gltf.ARRAY_BUFFER))
    if episode.colors is not None:
        attributes.COLOR_0 = buffer.add(_linear(episode.colors), "VEC4", gltf.ARRAY_BUFFER, normalized=True)
    primitive = gltf.Primitive(attributes=attributes, material=0, indices=buffer.add(
        episode.triangles.astype(np.uint32).reshape(-1), "SCALAR", gltf.ELEMENT_ARRAY_BUFFER))
    primitive.targets = [{"POSITION": buffer.add(target.astype(np.float32), "VEC3", gltf.ARRAY_BUFFER)} for target in targets]
    weights = np.eye(len(frames), dtype=np.float32).reshape(-1)
    channel = gltf.AnimationChannel(sampler=0, target=gltf.AnimationChannelTarget(node=0, path="weights"))
    sampler = gltf.AnimationSampler(input=buffer.add(times, "SCALAR"), output=buffer.add(weights, "SCALAR"), interpolation="LINEAR")
    material = gltf.Material(name="surface", doubleSided=True, pbrMetallicRoughness=gltf.PbrMetallicRoughness(
        metallicFactor=0.0, roughnessFactor=0.9))
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="dalf"), scene=0, scenes=[gltf.Scene(nodes=[0])],
        nodes=[gltf.Node(name=episode.name, mesh=0)], materials=[material],
        meshes=[gltf.Mesh(name=episode.name, primitives=[primitive], weights=np.eye(len(frames))[0].tolist())],
        animations=[gltf.Animation(name=episode.name, channels=[channel], samplers=[sampler])],
        accessors=buffer.accessors, bufferViews=buffer.views, buffers=[gltf.Buffer(byteLength=len(buffer.data))])
    document.set_binary_blob(bytes(buffer.data))
    document.save_binary(str(path))
    return every


class _Buffer:
    """Arrays behind one another, each with its view and accessor."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[Any] = []
        self.accessors: list[Any] = []

    def add(self, values: np.ndarray, kind: str, target: int | None = None, normalized: bool = False) -> int:
        """Number of the accessor."""
        import pygltflib as gltf

        types = {"float32": gltf.FLOAT, "uint32": gltf.UNSIGNED_INT, "uint16": gltf.UNSIGNED_SHORT}
        raw = np.ascontiguousarray(values).tobytes()
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.data), byteLength=len(raw), target=target))
        self.data += raw + bytes(-len(raw) % 4)
        bounds = kind == "VEC3" or target is None
        self.accessors.append(gltf.Accessor(
            bufferView=len(self.views) - 1, componentType=types[str(values.dtype)], count=len(values), type=kind, normalized=normalized,
            min=np.atleast_1d(values.min(axis=0)).tolist() if bounds else None,
            max=np.atleast_1d(values.max(axis=0)).tolist() if bounds else None))
        return len(self.accessors) - 1


def _linear(colors: np.ndarray) -> np.ndarray:
    """(V, 3) uint8 sRGB to (V, 4) uint16 linear light, which glTF's vertex colours are (IEC 61966-2-1)."""
    srgb = colors / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    opaque = np.concatenate([linear, np.ones((len(colors), 1))], axis=1)
    return (65535 * opaque).round().astype(np.uint16)
