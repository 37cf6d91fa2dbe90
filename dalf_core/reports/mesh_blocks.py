"""Followed surfaces as blocks of bytes, with what a page must know to read them."""
from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .packing import pack, quantise, shade
from .run_report import MeshSequence
from .strain import VertexStrain

Blocks = dict[str, bytes]
FRAMES_A_BLOCK = 32         # a page unpacks a block when it is looked at; its first frame is whole, the others are differences
LEAST_STRAIN, LEAST_POWER = 1.0, 0.5        # the least length of a colour scale: per cent, powers of ten
LEAST_DEVIATION_M = 1e-6                    # less is taken for that
USUAL = 98                  # per cent of the values that the scales hold


def mesh_blocks(sequences: Sequence[MeshSequence], blocks: Blocks) -> list[dict[str, Any]]:
    """What describes the sequences, as JSON has it; their bytes go to `blocks`, little-endian, deflated.

    NAME-rest: triangles uint32 (F, 3), then colours uint8 (V, 3) where it has them. NAME-0, NAME-1, …: FRAMES_A_BLOCK frames each, packed:
    positions uint16 (T, 3, V), visible uint8 (T, V), then each of `fields` uint8 (T, V).
    """
    if not sequences:
        return []
    values = {"strain": [100 * _strain(sequence) for sequence in sequences]}
    if any(sequence.deviation is not None for sequence in sequences):
        values["uncertainty"] = [_log_millimetres(sequence) for sequence in sequences]
    scales = [_scale(name, of_all) for name, of_all in values.items()]
    return [_sequence(f"mesh{number}", sequence, [of_all[number] for of_all in values.values()], scales, blocks)
            for number, sequence in enumerate(sequences)]


def _strain(sequence: MeshSequence) -> np.ndarray:
    strain = VertexStrain(sequence.triangles, sequence.reference)
    return np.stack([strain.of(vertices) for vertices in sequence.vertices]).astype(np.float32)


def _log_millimetres(sequence: MeshSequence) -> np.ndarray:
    """log10 of the deviation in mm, which ranges over several powers of ten."""
    if sequence.deviation is None:
        return np.full(sequence.visible.shape, np.nan, np.float32)
    return np.log10(1000 * np.maximum(sequence.deviation, LEAST_DEVIATION_M))


def _scale(name: str, values: list[np.ndarray]) -> dict[str, Any]:
    """A field's description. low, high: the ends of its colours, in `unit`, or its log10 where `log`; strain's is as long both ways."""
    known = np.concatenate([each[np.isfinite(each)][::7] for each in values])
    if name == "strain":
        high = max(LEAST_STRAIN, float(np.percentile(np.abs(known), USUAL))) if len(known) else LEAST_STRAIN
        return {"name": name, "unit": "%", "low": -high, "high": high, "log": False, "colors": "signed"}
    low, high = np.percentile(known, [100 - USUAL, USUAL]).tolist() if len(known) else (0.0, 0.0)
    return {"name": name, "unit": "mm", "low": low, "high": max(high, low + LEAST_POWER), "log": True, "colors": "magnitude"}


def _sequence(name: str, sequence: MeshSequence, values: list[np.ndarray], scales: list[dict[str, Any]], blocks: Blocks) -> dict[str, Any]:
    rest = np.ascontiguousarray(sequence.triangles, "<u4").tobytes()
    if sequence.colors is not None:
        rest += np.ascontiguousarray(sequence.colors, np.uint8).tobytes()
    blocks[f"{name}-rest"] = zlib.compress(rest)
    positions, low, step = quantise(sequence.vertices)
    shades = [shade(each, scale["low"], scale["high"]) for scale, each in zip(scales, values)]
    starts = range(0, len(sequence.frames), FRAMES_A_BLOCK)
    for number, start in enumerate(starts):
        part = slice(start, start + FRAMES_A_BLOCK)
        blocks[f"{name}-{number}"] = pack([positions[part].transpose(0, 2, 1), sequence.visible[part].astype(np.uint8),
                                           *(each[part] for each in shades)])
    box = [sequence.reference.min(axis=0).tolist(), sequence.reference.max(axis=0).tolist()]
    return {"name": name, "vertices": len(sequence.reference), "triangles": len(sequence.triangles), "frames": sequence.frames.tolist(),
            "low": low.tolist(), "step": step, "box": box, "colored": sequence.colors is not None, "frames_a_block": FRAMES_A_BLOCK,
            "fields": scales}
