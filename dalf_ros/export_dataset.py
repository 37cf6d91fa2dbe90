"""`./run export-dataset RUNS…`: what register made, as a dataset to learn from, as tables, or as animated meshes."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dalf_core.commands.command_line import HelpWithDefaults, exit_status, program

if TYPE_CHECKING:
    from dalf_core.datasets.episode import Episode

FORMATS = {"lerobot": "LeRobotDataset v3.0: videos, depth, and in each frame the named points and keypoints of the surface",
           "parquet": "one table of all frames, and an NPZ of the mesh for each run", "gltf": "a .glb for each run: the deforming mesh"}
TASK = "follow a deforming surface"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("export-dataset"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="output folder of register, or a folder with many of them below it")
    p.add_argument("--format", choices=FORMATS, default="lerobot", help="; ".join(f"{name}: {what}" for name, what in FORMATS.items()))
    p.add_argument("--output", type=Path, default=Path("out/dataset"), help="folder to make")
    p.add_argument("--overwrite", action="store_true", help="replace a folder that is there")
    p.add_argument("--keypoints", type=int, default=64, help="places of the surface that are followed, spread evenly over it")
    p.add_argument("--task", default=TASK, help="lerobot: what is done, in words")
    p.add_argument("--no-images", action="store_true", help="lerobot: neither videos nor depth")
    p.add_argument("--no-depth", action="store_true", help="lerobot: no depth images")
    p.add_argument("--recordings", type=Path, metavar="DIR", help="where the recordings lie now, if they were moved since")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 done, without some of the runs; 2 an error; 130 after Ctrl-C."""
    from .bags.bag_source import BagError

    options = parser().parse_args(args)

    def work() -> int:
        try:
            return run(options)
        except BagError as error:
            raise RuntimeError(str(error)) from error

    return exit_status(work)


def run(options: argparse.Namespace) -> int:
    """Read the runs, write. Raises BagError, DatasetError, OSError."""
    from dalf_core.files.whole_folder import whole_folder

    if options.keypoints < 1:
        raise ValueError("--keypoints must be at least 1")
    if options.output.exists() and not options.overwrite:
        raise FileExistsError(f"{options.output} exists already: say --overwrite to replace it, or name another --output")
    episodes, problems = _read(options.runs, options.recordings)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(options.output, options.output.parent, options.overwrite) as folder:
        _write(folder, episodes, options)
    frames = sum(len(episode) for episode in episodes)
    print(f"written: {options.output} ({len(episodes)} episode{'s' * (len(episodes) != 1)}, {frames} frames, {options.format})")
    return 1 if problems else 0


def _read(folders: list[Path], recordings: Path | None) -> tuple[list[Episode], int]:
    """The episodes, and how many runs were left out, which is told."""
    from dalf_core.datasets.episode import DatasetError
    from dalf_core.progress_bar import progress_bar

    from .bags.bag_source import BagError
    from .offline.episode_reader import read_episode
    from .offline.report_writer import runs_below
    from .offline.run_reader import is_run, read_metrics
    from .register import parser as register_parser

    runs: list[Path] = []
    for folder in folders:
        below = [folder] if is_run(folder) or not folder.is_dir() else runs_below(folder)
        if not below:
            read_metrics(folder)        # tells what is missing
        runs += below
    episodes, problems = [], []
    for run_folder in progress_bar(runs, unit="run"):
        try:
            episodes.append(read_episode(run_folder, lambda path: register_parser().parse_args([str(path)]), recordings))
        except (BagError, DatasetError) as error:
            problems.append(str(error))
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    for episode in episodes:
        for note in episode.notes:
            print(f"{episode.name}: {note}", file=sys.stderr)
    if not episodes:
        raise DatasetError("no run is left to export")
    return _named_apart(episodes), len(problems)


def _named_apart(episodes: list[Episode]) -> list[Episode]:
    """Runs of one name in different folders get numbers."""
    from dataclasses import replace

    seen: dict[str, int] = {}
    apart = []
    for episode in episodes:
        seen[episode.name] = number = seen.get(episode.name, 0) + 1
        apart.append(episode if number == 1 else replace(episode, name=f"{episode.name}_{number}"))
    return apart


def _write(folder: Path, episodes: list[Episode], options: argparse.Namespace) -> None:
    if options.format == "lerobot":
        from dalf_core.datasets.lerobot import write_lerobot

        write_lerobot(folder, episodes, keypoints=options.keypoints, task=options.task, images=not options.no_images,
                      depth=not (options.no_depth or options.no_images))
    elif options.format == "parquet":
        from dalf_core.datasets.tables import write_tables

        write_tables(folder, episodes, keypoints=options.keypoints)
    else:
        from dalf_core.datasets.gltf import write_gltf

        for episode in episodes:
            every = write_gltf(folder / f"{episode.name}.glb", episode)
            if every > 1:
                print(f"{episode.name}: every {every}th frame is in the mesh's animation", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
