"""`./run match A B --output matches.png`: match two pictures of a bent surface, and register the second onto the first."""
from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files.picture_file import read_picture
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor
from .files import PICTURES, check_output, write_picture

if TYPE_CHECKING:
    from ..features.extractor import DALF


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="./run match", description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("a", type=Path, metavar="A", help="the reference picture")
    p.add_argument("b", type=Path, metavar="B", help="the other picture")
    p.add_argument("--output", type=Path, required=True, help="picture of the verified matches, coloured by how they move")
    p.add_argument("--registered", type=Path, help="picture: A | B with A's grid as it lies in B | B as A sees it, unsupported parts dark")
    p.add_argument("--heatmap", type=Path, help="picture of the detector's response on A | B")
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
    from ..matching.nearest_neighbours import match
    from ..matching.verification import verify

    reference, query = dalf.extract(a), dalf.extract(b)
    matches = match(reference, query)
    matches = replace(matches, inlier=verify(reference, query, matches))
    print(f"keypoints: {len(reference)} in A, {len(query)} in B")
    print(f"matches: {len(matches)}, of which {matches.inlier.sum()} verified")
    write_picture(options.output, draw_matches(a, b, reference, query, matches if options.all else matches.select(matches.inlier)))
    if options.registered:
        write_registered(options.registered, dalf, a, b)


def write_registered(path: Path, dalf: DALF, a: np.ndarray, b: np.ndarray) -> None:
    """A | B with A's grid | B as A sees it; prints how well it fits."""
    from ..drawing.draw import beside
    from ..drawing.draw_warp import draw_deformation_grid, draw_registered
    from ..image_registration.template_tracking import TemplateTracker

    frame = TemplateTracker(dalf, a).process(b)
    if frame.warp is None:
        raise ValueError(f"B cannot be registered onto A: {frame.reason}")
    print(f"registered by {frame.used} matches: {frame.supported:.0%} of A is seen in B, local correlation (ZNCC) {frame.zncc:.2f}")
    write_picture(path, beside(a, draw_deformation_grid(b, frame.warp), draw_registered(b, frame.warp)))


def write_heatmaps(path: Path, dalf: DALF, a: np.ndarray, b: np.ndarray) -> None:
    """The detector's response on A | B."""
    from ..drawing.draw import beside
    from ..drawing.draw_heatmap import draw_heatmap

    write_picture(path, beside(*(draw_heatmap(picture, dalf.heatmap(picture), geometry=dalf.geometry, keypoint_bias=dalf.keypoint_bias)
                                 for picture in (a, b))))


if __name__ == "__main__":
    sys.exit(main())
