"""What `match` tells and writes: a verdict, JSON, a table of the matches."""
from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.whole_file import write_whole
from ..matching.verification import MIN_VERIFIED

if TYPE_CHECKING:
    from ..image_matching.match_images import ImageMatches

COLUMNS = ("x_a", "y_a", "x_b", "y_b", "distance", "verified", "detected")
TABLES = (".csv", ".npz")


def is_same_surface(found: ImageMatches) -> bool:
    """Whether the matches that hold are more than chance gives."""
    return found.verified >= MIN_VERIFIED


def verdict(found: ImageMatches) -> str:
    """In one line."""
    if is_same_surface(found):
        return f"A and B show the same surface: {found.verified} verified matches"
    return f"A and B do not show the same surface: {found.verified} verified matches, {MIN_VERIFIED} would tell it from chance"


def caption(found: ImageMatches) -> str:
    """For a picture of the matches."""
    return f"{found.verified} of {len(found.matches)} matches kept"


def summary(found: ImageMatches) -> dict[str, Any]:
    """The counts, for JSON."""
    return {"same_surface": is_same_surface(found), "keypoints_a": len(found.a), "keypoints_b": len(found.b), "matches": len(found.matches),
            "verified": found.verified, "verified_first_look": found.verified_first, "verified_unaligned": found.verified_unaligned,
            "by_patch": int((found.matches.inlier & ~found.detected).sum()), "looks": found.passes, "reason": found.reason}


def tell(found: ImageMatches) -> None:
    """Print what was found, and how."""
    print(f"keypoints: {len(found.a)} in A, {len(found.b)} in B")
    print(f"matches: {len(found.matches)}, of which {found.verified} verified")
    if found.passes > 1:
        print(f"{'second' if found.passes == 2 else 'third'} look: {found.verified_first} -> {found.verified_unaligned} verified matches; "
              f"{found.reason}")
    else:
        print(f"no second look: {found.reason}")
    if by_patch := summary(found)["by_patch"]:
        print(f"alignment: {found.verified_unaligned} -> {found.verified} verified matches; "
              f"{by_patch} by A's patch where nothing was detected")
    print(verdict(found))


def tell_json(found: ImageMatches) -> None:
    """One JSON object on standard output."""
    print(json.dumps(summary(found), indent=2))


def write_matches(path: Path, found: ImageMatches, scale_a: float, scale_b: float) -> None:
    """Every match, nearest descriptors first, as .csv or .npz. scale_a, scale_b: from the pictures that were matched to those of the files,
    pixels a pixel; pixel centres at integers."""
    matches = found.matches
    xy_a = (found.a.keypoints[matches.reference_index] + 0.5) * scale_a - 0.5
    xy_b = (found.b.keypoints[matches.query_index] + 0.5) * scale_b - 0.5
    data = io.BytesIO()
    if path.suffix.lower() == ".npz":
        np.savez_compressed(data, xy_a=xy_a, xy_b=xy_b, distance=matches.distance, verified=matches.inlier, detected=found.detected)
        write_whole(path, data.getvalue())
        return
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for a, b, distance, verified, detected in zip(xy_a, xy_b, matches.distance, matches.inlier, found.detected):
        table.writerow([*(f"{value:.3f}" for value in (*a, *b)), f"{distance:.4f}", int(verified), int(detected)])
    write_whole(path, text.getvalue().encode())
