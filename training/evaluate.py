"""`./run evaluate --photos DIR --weights A B`: compare weights by their keypoints and matches, against the truth.

--photos: on bent, turned and relit copies of the photos in DIR that training never sees, whose true map is exact.
--nonrigid: on images of real deforming objects, in the layout of VeRLab's benchmark, by the numbers of the original evaluation.
docs/evaluation.md says what every number means.
"""
from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dalf_core.commands.command_line import HelpWithDefaults, exit_status, program
from dalf_core.commands.files import check_output

from .data.difficulty import LEVELS

if TYPE_CHECKING:
    from .evaluation.extractor_scores import Extractor

DEFAULT = "default"


class _Help(HelpWithDefaults, argparse.RawDescriptionHelpFormatter):
    pass


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("evaluate"), description=__doc__, formatter_class=_Help)
    data = p.add_mutually_exclusive_group(required=True)
    data.add_argument("--photos", type=Path, metavar="DIR", help="folder of photos; those kept from training, one in ten, are used")
    data.add_argument("--nonrigid", type=Path, nargs=2, metavar=("IMAGES", "TRUTH"),
                      help="the benchmark's folders of images and of splines (All_PNG and gt_tps in the original's script)")
    p.add_argument("--weights", nargs="+", default=[DEFAULT], metavar="W",
                   help="what is compared: paths, 'official', or 'default', what DALF() takes")
    p.add_argument("--descriptor", nargs="+", choices=("auto", "fused", "polar", "backbone"), default=["auto"], metavar="D",
                   help="auto (the one the weights were trained for), fused, polar, backbone; several are compared, too")
    p.add_argument("--geometry", choices=("corrected", "original"), default="corrected", help="original: the official code's reading")
    p.add_argument("--top-k", type=int, default=2048, help="most keypoints in an image")
    p.add_argument("--threshold", type=float, help="least heatmap value of a keypoint, for all weights (default: each one's own)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    p.add_argument("--output", type=Path, metavar="DIR", help="write every pair's scores (CSV) and plots (PNG) there")
    p.add_argument("--pairs", type=int, default=40, help="with --photos: pairs a level")
    p.add_argument("--levels", nargs="+", choices=tuple(LEVELS), default=list(LEVELS), help="with --photos")
    p.add_argument("--datasets", nargs="+", metavar="NAME",
                   help="with --nonrigid: folders of IMAGES (default: those of the original's four that are there)")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 2 an error, printed in one line; 130 interrupted."""
    options = parser().parse_args(args)
    return exit_status(lambda: evaluate(options))


def evaluate(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises ValueError, OSError, RuntimeError with what is wrong."""
    if options.pairs < 1:
        raise ValueError(f"--pairs must be positive, not {options.pairs}")
    names = ("pairs.csv", "accuracy.png", "matching_score.png") if options.photos else ("pairs.csv", "matching_score.png")
    files = [options.output / name for name in names] if options.output else []
    if files and importlib.util.find_spec("matplotlib") is None:
        raise RuntimeError("--output draws plots, for which matplotlib is missing: pip install matplotlib")
    for path in files:
        check_output(path, (path.suffix,))
    (_evaluate_photos if options.photos else _evaluate_objects)(options, files)
    if files:
        print(f"\nwrote {', '.join(names)} to {options.output}")
    return 0


def _evaluate_photos(options: argparse.Namespace, files: Sequence[Path]) -> None:
    from .evaluation.benchmark import benchmark_photos
    from .evaluation.evaluation_plots import plot_accuracy, plot_bars
    from .evaluation.extractor_scores import grouped, matched_pairs, score, table, turn_table, write_csv
    from .evaluation.metrics import mean_scores

    benchmark_photos(options.photos, 2)         # says what is wrong before the weights are loaded
    levels = list(dict.fromkeys(options.levels))
    results = [score(found) for found in matched_pairs(options.photos, levels, options.pairs, make_extractors(options))]
    print(table(results), turn_table(results), sep="\n\n")
    if files:
        write_csv(files[0], results)
        plot_accuracy(files[1], results)
        groups = grouped(results)
        plot_bars(files[2], {key: mean_scores([row.score for row in rows]).matching_score for key, rows in groups.items()},
                  "matching score at 3 px", {level: len(rows) for (level, _), rows in groups.items()})


def _evaluate_objects(options: argparse.Namespace, files: Sequence[Path]) -> None:
    from .evaluation.evaluation_plots import plot_bars
    from .evaluation.tps_benchmark import DATASETS, find_objects
    from .evaluation.tps_evaluation import ALL, dataset_means, evaluate_objects, table, write_csv

    objects = find_objects(*options.nonrigid, options.datasets)
    used = dict.fromkeys(one.dataset for one in objects)
    if not options.datasets and (absent := [name for name in DATASETS if name not in used]):
        print(f"not there, so left out: {', '.join(absent)}", file=sys.stderr)
    results = list(evaluate_objects(objects, make_extractors(options)))
    means = dataset_means(results)
    print(table(means))
    print(f"\n{len(objects)} objects, {sum(len(one.targets) for one in objects)} pairs")
    if files:
        write_csv(files[0], results)
        pairs = dict.fromkeys(used, 0)
        for one in objects:
            pairs[one.dataset] += len(one.targets)
        pairs[ALL] = sum(pairs.values())
        plot_bars(files[1], {key: mean.matching_score for key, mean in means.items()}, "matching score at 3 px", pairs)


def make_extractors(options: argparse.Namespace) -> dict[str, Extractor]:
    """An extractor for each of the weights and descriptors, by the name it has in tables. Raises what DALF raises."""
    from dalf_core import DALF

    from .evaluation.extractor_scores import Extractor

    made = {}
    for label, weights in labels(options.weights).items():
        for kind in options.descriptor:
            descriptor = descriptor_of(weights) if kind == "auto" else kind
            name = label if options.descriptor == ["auto"] else f"{label} {kind}"
            made[name] = Extractor.of(DALF(weights, options.device, options.top_k, options.geometry, options.threshold, descriptor,
                                           precision="float32"))
    return made


def labels(weights: Sequence[str]) -> dict[str, str | None]:
    """A short name for each of the weights, and what DALF takes for it: the file's name, or the path where several have that name."""
    if twice := [name for name, count in Counter(weights).items() if count > 1]:
        raise ValueError(f"--weights: {twice[0]} is named twice")
    count = Counter(Path(name).name for name in weights)
    return {Path(name).name if count[Path(name).name] == 1 else name: None if name == DEFAULT else name for name in weights}


def descriptor_of(weights: str | None) -> str:
    """The descriptor that weights were trained for, as their metadata tell; "fused" where they do not. WeightsError."""
    from dalf_core.features.network import DESCRIPTORS
    from dalf_core.weights import read_weights, resolve

    named = read_weights(resolve(weights)).metadata.get("descriptor", "fused")
    return named if named in DESCRIPTORS else "fused"


if __name__ == "__main__":
    sys.exit(main())
