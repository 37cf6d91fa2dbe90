"""What the commands share: options of the extractor, help with defaults, exit statuses."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.made_folders import remove_empty_folders
from ..options import DEVICE, PRECISION, TOP_K, WEIGHTS, add_options

if TYPE_CHECKING:
    from ..features.extractor import DALF


def program(command: str) -> str:
    """What was typed: `dalf COMMAND`, as pip installs it, or `./run COMMAND`."""
    return f"{'dalf' if Path(sys.argv[0]).stem == 'dalf' else './run'} {command}"


class HelpWithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, but not of options that have none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, "") else super()._get_help_string(action)


def add_extractor_options(parser: argparse.ArgumentParser) -> None:
    """--weights, --device, --precision, --top-k, --descriptor."""
    add_options(parser, WEIGHTS, DEVICE, PRECISION, TOP_K)
    parser.add_argument("--descriptor", choices=("fused", "polar", "backbone"), default="fused", help="polar stands larger rotations")


def make_extractor(options: argparse.Namespace) -> DALF:
    """The extractor that these options ask for. Raises what DALF raises."""
    from ..features.extractor import DALF

    return DALF(options.weights or None, options.device, top_k=options.top_k, descriptor=options.descriptor, precision=options.precision)


def exit_status(work: Callable[[], int]) -> int:
    """What `work` returns; 2 after an error, told in one line; 130 after Ctrl-C."""
    try:
        return work()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (RuntimeError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        remove_empty_folders()
