"""`./run match A B --output matches.png`: match two pictures of a bent surface, and register the second onto the first.

B is looked at twice where that pays: again as A sees it, by a map through the first matches.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..files.picture_file import read_picture
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor
from .files import PICTURES, check_output, write_picture

if TYPE_CHECKING:
    from ..features.extractor import DALF
    from ..image_matching.match_images import ImageMatches

PASSES: dict[str, str | int] = {"auto": "auto", "1": 1, "2": 2}       # as typed, as match_images takes them


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="./run match", description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("a", type=Path, metavar="A", help="the reference picture")
    p.add_argument("b", type=Path, metavar="B", help="the other picture")
    p.add_argument("--output", type=Path, required=True, help="picture of the verified matches, coloured by how they move")
    p.add_argument("--registered", type=Path, help="picture: A | B with A's grid as it lies in B | B as A sees it, unsupported parts dark")
    p.add_argument("--heatmap", type=Path, help="picture of the detector's response on A | B")
    p.add_argument("--passes", choices=tuple(PASSES), default="auto", help="looks at B; auto: again where patches look different in it")
    p.add_argument("--align", action=argparse.BooleanOptionalAction, default=True,
                   help="find the matches' places to a fraction of a pixel, and more of them, by the patches around A's keypoints")
    p.add_argument("--all", action="store_true", help="draw the matches that verification dropped, too, in grey")
    add_extractor_options(p)
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 2 an error, told in one line; 130 interrupted."""
    options = parser().parse_args(args)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises ValueError, OSError, RuntimeError with what is wrong."""
    for path in filter(None, (options.output, options.registered, options.heatmap)):
        check_output(path, PICTURES, (options.a, options.b))
    a, b = read_picture(options.a), read_picture(options.b)
    dalf = make_extractor(options)
    if options.heatmap:
        write_heatmaps(options.heatmap, dalf, a, b)
    draw_pair(options, dalf, a, b)
    return 0


def draw_pair(options: argparse.Namespace, dalf: DALF, a: np.ndarray, b: np.ndarray) -> None:
    """Match, print the counts, write the pictures. ValueError: a registered picture is asked for, but the matches do not allow it."""
    from ..drawing.draw import draw_matches
    from ..image_matching.match_images import match_images

    found = match_images(a, b, dalf=dalf, passes=PASSES[options.passes], align=options.align)
    tell(found)
    matches = found.matches if options.all else found.matches.select(found.matches.inlier)
    write_picture(options.output, draw_matches(a, b, found.a, found.b, matches))
    if options.registered:
        write_registered(options.registered, found, a, b)


def tell(found: ImageMatches) -> None:
    """Print what was found, and how."""
    print(f"keypoints: {len(found.a)} in A, {len(found.b)} in B")
    print(f"matches: {len(found.matches)}, of which {found.verified} verified")
    if found.passes > 1:
        print(f"{'second' if found.passes == 2 else 'third'} look: {found.verified_first} -> {found.verified_unaligned} verified matches; "
              f"{found.reason}")
    else:
        print(f"no second look: {found.reason}")
    if by_patch := int((found.matches.inlier & ~found.detected).sum()):
        print(f"alignment: {found.verified_unaligned} -> {found.verified} verified matches; "
              f"{by_patch} by A's patch where nothing was detected")


def write_registered(path: Path, found: ImageMatches, a: np.ndarray, b: np.ndarray) -> None:
    """A | B with A's grid | B as A sees it; prints how well it fits. ValueError: too few verified matches, or matches on a line."""
    from ..drawing.draw import as_bgr, beside
    from ..drawing.draw_warp import draw_deformation_grid, draw_registered
    from ..image_registration.image_warp import ImageWarpError, fit_image_warp, warp_to_template
    from ..image_registration.similarity import local_zncc
    from ..matching.verification import MIN_VERIFIED

    if found.verified < MIN_VERIFIED:
        raise ValueError(f"B cannot be registered onto A: {found.verified} verified matches, at least {MIN_VERIFIED} are needed")
    try:
        warp = fit_image_warp(found.points_a, found.points_b, found.a.image_size, found.b.image_size)
    except ImageWarpError as error:
        raise ValueError(f"B cannot be registered onto A: {error}") from error
    gray_a, gray_b = (cv2.cvtColor(as_bgr(picture), cv2.COLOR_BGR2GRAY) for picture in (a, b))
    likeness = local_zncc(gray_a, warp_to_template(gray_b, warp), warp.support)[warp.support]
    print(f"registered by {warp.inlier.sum()} matches: {warp.support.mean():.0%} of A is seen in B, local correlation (ZNCC) "
          f"{likeness.mean() if len(likeness) else np.nan:.2f}")
    write_picture(path, beside(a, draw_deformation_grid(b, warp), draw_registered(b, warp)))


def write_heatmaps(path: Path, dalf: DALF, a: np.ndarray, b: np.ndarray) -> None:
    """The detector's response on A | B."""
    from ..drawing.draw import beside
    from ..drawing.draw_heatmap import draw_heatmap

    write_picture(path, beside(*(draw_heatmap(picture, dalf.heatmap(picture), geometry=dalf.geometry, keypoint_bias=dalf.keypoint_bias)
                                 for picture in (a, b))))


if __name__ == "__main__":
    sys.exit(main())
