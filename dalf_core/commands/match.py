"""`./run match A B`: match two pictures of a bent surface, and register the second onto the first.

B is looked at twice where that pays: again as A sees it, by a map through the first matches.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..features.image_input import MIN_SIDE
from ..files.picture_file import read_picture
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor, program
from .files import PICTURES, check_output, write_picture
from .match_output import TABLES, caption, is_same_surface, tell, tell_json, write_matches

if TYPE_CHECKING:
    from ..features.extractor import DALF
    from ..image_matching.match_images import ImageMatches

PASSES: dict[str, str | int] = {"auto": "auto", "1": 1, "2": 2}       # as typed, as match_images takes them
MAX_SIZE = 1280             # pixels: a larger photo takes minutes on a CPU, and gives fewer matches, for patches show less of the surface


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("match"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("a", type=Path, metavar="A", help="the reference picture")
    p.add_argument("b", type=Path, metavar="B", help="the other picture")
    p.add_argument("--output", type=Path, default=Path("out/matches.png"),
                   help="picture of the verified matches, coloured by how they move")
    p.add_argument("--registered", type=Path, help="picture: A | B with A's grid as it lies in B | B as A sees it, unsupported parts dark")
    p.add_argument("--heatmap", type=Path, help="picture of the detector's response on A | B")
    p.add_argument("--matches", type=Path, help="every match, pixels of A and B, as .csv or .npz")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--max-size", type=int, default=MAX_SIZE, metavar="PIXELS",
                   help="pictures whose longer side is longer are reduced to it first; 0: never")
    p.add_argument("--passes", choices=tuple(PASSES), default="auto", help="looks at B; auto: again where patches look different in it")
    p.add_argument("--align", action=argparse.BooleanOptionalAction, default=True,
                   help="find the matches' places to a fraction of a pixel, and more of them, by the patches around A's keypoints")
    p.add_argument("--all", action="store_true", help="draw the matches that verification dropped, too, in grey")
    add_extractor_options(p)
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 A and B show the same surface; 1 they do not; 2 an error, told in one line; 130 interrupted."""
    options = parser().parse_args(args)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises ValueError, OSError, RuntimeError with what is wrong."""
    if options.max_size < 0 or 0 < options.max_size < MIN_SIDE:
        raise ValueError(f"--max-size {options.max_size}: must be 0 or at least {MIN_SIDE}")
    for path in filter(None, (options.output, options.registered, options.heatmap)):
        check_output(path, PICTURES, (options.a, options.b))
    if options.matches:
        check_output(options.matches, TABLES, (options.a, options.b))
    (a, scale_a), (b, scale_b) = (reduced(read_picture(path), options.max_size, path) for path in (options.a, options.b))
    dalf = make_extractor(options)
    if options.heatmap:
        write_heatmaps(options.heatmap, dalf, a, b)
    found = draw_pair(options, dalf, a, b)
    if options.matches:
        write_matches(options.matches, found, scale_a, scale_b)
    return 0 if is_same_surface(found) else 1


def reduced(picture: np.ndarray, most: int, path: Path) -> tuple[np.ndarray, float]:
    """The picture with a longer side of `most` pixels at the most, and by what factor it was larger; told."""
    height, width = picture.shape[:2]
    scale = max(height, width) / most if most else 1.0
    if scale <= 1:
        return picture, 1.0
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    print(f"{path}: {width}x{height} pixels are reduced to {size[0]}x{size[1]}; --max-size changes that", file=sys.stderr)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), scale


def draw_pair(options: argparse.Namespace, dalf: DALF, a: np.ndarray, b: np.ndarray) -> ImageMatches:
    """Match, print the result, write the pictures. ValueError: a registered picture is asked for, but the matches do not allow it."""
    from ..drawing.draw import draw_matches
    from ..image_matching.match_images import match_images

    found = match_images(a, b, dalf=dalf, passes=PASSES[options.passes], align=options.align)
    (tell_json if options.json else tell)(found)
    matches = found.matches if options.all else found.matches.select(found.matches.inlier)
    drawn = draw_matches(a, b, found.a, found.b, matches)
    write_picture(options.output, _explained(options, drawn, a.shape[1], found))
    if not options.json:
        print(f"written: {options.output}")
    if options.registered:
        write_registered(options.registered, found, a, b)
    return found


def _explained(options: argparse.Namespace, drawn: np.ndarray, middle: int, found: ImageMatches) -> np.ndarray:
    """The picture of the matches with its words. middle: pixels, where B begins."""
    from ..drawing.palette import DROPPED
    from ..drawing.panels import MOTION, Entry, compose

    legend: list[Entry] = [(MOTION, "hue: direction of motion, against the median; paler: shorter")]
    if options.all:
        legend.append((DROPPED, "dropped"))
    return compose((drawn[:, :middle], drawn[:, middle:]), (f"A: {options.a.name}", f"B: {options.b.name}"), caption(found), legend)


def write_registered(path: Path, found: ImageMatches, a: np.ndarray, b: np.ndarray) -> None:
    """A | B with A's grid | B as A sees it; prints how well it fits. ValueError: too few verified matches, or matches on a line."""
    from ..drawing.draw import as_bgr
    from ..drawing.draw_warp import draw_deformation_grid, draw_registered
    from ..drawing.palette import DARK, GRID
    from ..drawing.panels import compose
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
    panels = (a, draw_deformation_grid(b, warp), draw_registered(b, warp))
    write_picture(path, compose(panels, ("A", "B", "B as A sees it"), legend=[(GRID, "A's grid, where it lies in B"),
                                                                          (DARK, "dark: no match supports the map")]))


def write_heatmaps(path: Path, dalf: DALF, a: np.ndarray, b: np.ndarray) -> None:
    """The detector's response on A | B."""
    from ..drawing.draw_heatmap import draw_heatmap
    from ..drawing.palette import magnitude_legend
    from ..drawing.panels import compose

    panels = [draw_heatmap(picture, dalf.heatmap(picture), geometry=dalf.geometry, keypoint_bias=dalf.keypoint_bias) for picture in (a, b)]
    write_picture(path, compose(panels, ("A: the detector's response", "B: the detector's response"), legend=magnitude_legend()))


if __name__ == "__main__":
    sys.exit(main())
