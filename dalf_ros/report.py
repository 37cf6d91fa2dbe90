"""`./run report RUN_FOLDER…`: what `register` made, as a page for the browser: one file, which needs neither a server nor the network."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from dalf_core.commands.command_line import HelpWithDefaults, program


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("report"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("folders", type=Path, nargs="+", metavar="RUN_FOLDER",
                   help="output folder of register, which receives report.html; or a folder with many of them below it: each receives its "
                        "report, the folder index.html, a table of them")
    p.add_argument("--only-missing", action="store_true", help="make no report where there is one that is newer than the run")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a report could not be made, others were; 2 none was; 130 interrupted."""
    options = parser().parse_args(args)
    try:
        return run(options.folders, options.only_missing)
    except KeyboardInterrupt:
        print("interrupted; the reports made until then are whole", file=sys.stderr)
        return 130


def run(folders: list[Path], only_missing: bool) -> int:
    """Reports of runs, and an index of each folder that holds several."""
    counts = [_make(folder, only_missing) for folder in folders]
    made, failed = (sum(column) for column in zip(*counts))
    return (1 if made else 2) if failed else 0


def _make(folder: Path, only_missing: bool) -> tuple[int, int]:
    """The report of a run, or those of all runs below a folder and their index: how many were made, and how many could not be."""
    from .offline.report_writer import runs_below, write_index
    from .offline.run_reader import is_run

    below = runs_below(folder) if folder.is_dir() and not is_run(folder) else []
    problems = {run: problem for run in below or [folder] if (problem := _report(run, only_missing))}
    made, failed = len(below or [folder]) - len(problems), len(problems)
    if below and _told(lambda: print(write_index(folder, below, problems))):
        failed += 1
    return made, failed


def _report(folder: Path, only_missing: bool) -> str:
    """Make a run's report. Returns why not, which it tells, else nothing."""
    from .offline.report_writer import write_report
    from .offline.run_output import RunFiles

    files = RunFiles(folder)
    if only_missing and files.report.is_file() and files.metrics.is_file() and _written(files.report) >= _written(files.metrics):
        return ""
    return _told(lambda: print(f"{write_report(folder)} ({files.report.stat().st_size / 1e6:.1f} MB)"))


def _written(path: Path) -> float:
    return path.stat().st_mtime


def _told(work: Callable[[], object]) -> str:
    """Do it; what stops it is told and returned, else nothing."""
    from .bags.bag_source import BagError

    try:
        work()
    except (BagError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
