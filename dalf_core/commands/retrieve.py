"""`./run retrieve IMAGE --library DIR`: which template of a folder does a picture show, or none?

The picture with its best candidates beside it goes to --output; `./run template make` fills a library.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from ..drawing.palette import BACKGROUND, GOOD
from ..files.picture_file import read_picture
from ..options import IMAGE_SCALE, add_options
from ..progress_bar import progress_bar
from ..templates.library import LEAST, Library, Recognition
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor, program
from .files import PICTURES, check_output, write_picture
from .match import MAX_SIZE, reduced

PANEL = (320, 240)          # pixels of a picture of the sheet
CAPITAL = 10                # pixels, of its words' capitals


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("retrieve"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("image", type=Path, metavar="IMAGE", help="the picture")
    p.add_argument("--library", type=Path, required=True, metavar="DIR", help="folder of templates, *.dalf")
    p.add_argument("--output", type=Path, default=Path("out/retrieved.png"), help="contact sheet of the picture and the best candidates")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--max-size", type=int, default=MAX_SIZE, metavar="PIXELS",
                   help="a picture whose longer side is longer is reduced to it first; 0: never")
    add_options(p, IMAGE_SCALE)
    add_extractor_options(p)
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 it is one of them; 1 it is none; 2 an error, told in one line; 130 interrupted."""
    options = parser().parse_args(args)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises ValueError, OSError, RuntimeError with what is wrong."""
    check_output(options.output, PICTURES, (options.image,))
    image, _ = reduced(read_picture(options.image), options.max_size, options.image)
    library = Library(make_extractor(options), options.image_scale)
    for problem in library.read_folder(options.library, lambda files: progress_bar(list(files), desc="library", unit="template")):
        print(f"left out: {problem}", file=sys.stderr)
    if anew := library.extracted_anew:
        print(f"{_templates(len(anew))} ({', '.join(anew[:3])}{', …' if len(anew) > 3 else ''}) made with other weights or another "
              "--image-scale: features were extracted anew, which takes time; give the same --weights",
              file=sys.stderr)
    found = library.recognise(image)
    if options.json:
        print(json.dumps({"template": found.name, "confidence": round(found.confidence, 4), "templates": len(library),
                          "verified": 0 if found.matches is None else found.matches.verified_unaligned,
                          "candidates": [vars(candidate) for candidate in found.candidates]}, indent=2))
    else:
        tell(found, len(library))
    write_picture(options.output, sheet(image, library, found))
    if not options.json:
        print(f"written: {options.output}")
    return 0 if found.name is not None else 1


def tell(found: Recognition, count: int) -> None:
    """The answer, and the shortlist it came from."""
    print(f"{found.name or 'none'} of {_templates(count)} (confidence {found.confidence:.2f}"
          + (f" for {found.candidates[0].name})" if found.name is None and found.candidates else ")"))
    for candidate in found.candidates:
        print(f"  {candidate.name}: {candidate.votes:.0%} of the votes, {candidate.verified} verified matches after one look")
    if found.matches is not None:
        print(f"the best, as `match` matches it: {found.matches.verified_unaligned} verified matches after "
              f"{found.matches.passes} look{'s' if found.matches.passes > 1 else ''}")


def verdict(found: Recognition, count: int) -> str:
    """The answer in a line, as the picture has it."""
    if found.name is not None:
        return f"it is {found.name}, confidence {found.confidence:.2f}"
    if not found.candidates:
        return f"none of {_templates(count)}"
    verified = 0 if found.matches is None else found.matches.verified_unaligned
    return f"none of {_templates(count)}: {found.candidates[0].name} is the nearest, with {verified} verified matches; {LEAST} are needed"


def _templates(count: int) -> str:
    return f"{count} template{'' if count == 1 else 's'}"


def sheet(image: np.ndarray, library: Library, found: Recognition) -> np.ndarray:
    """The picture, and the candidates with their scores; the verdict above, the answer framed."""
    from ..drawing.draw import as_bgr
    from ..drawing.panels import compose

    panels, titles = [_panel(as_bgr(image))], ["the picture"]
    for candidate in found.candidates:
        panels.append(_panel(library.template(candidate.name).image, GOOD if candidate.name == found.name else None))
        titles.append(f"{candidate.name}: {candidate.verified} matches, {candidate.votes:.0%} of votes")
    legend = [(GOOD, "framed: what the picture shows; matches after one look")] if found.name is not None else []
    return compose(panels, titles, verdict(found, len(library)), legend, capital=CAPITAL)


def _panel(picture: np.ndarray, frame: tuple[int, int, int] | None = None) -> np.ndarray:
    """A picture fitted into PANEL; frame: its colour, if it is the answer."""
    width, height = PANEL
    scale = min(width / picture.shape[1], height / picture.shape[0])
    small = cv2.resize(picture, (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))),
                       interpolation=cv2.INTER_AREA)
    panel = np.full((height, width, 3), BACKGROUND, np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    panel[top:top + small.shape[0], left:left + small.shape[1]] = small
    if frame is not None:
        cv2.rectangle(panel, (1, 1), (width - 2, height - 2), frame, 5)
    return panel


if __name__ == "__main__":
    sys.exit(main())
