"""`./run report RUN_FOLDER…`: what `register` made, as a page for the browser: one file, which needs neither a server nor the network."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dalf_core.commands.command_line import HelpWithDefaults, exit_status, program


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("report"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("folders", type=Path, nargs="+", metavar="RUN_FOLDER",
                   help="output folder of register, which receives report.html; or a folder with many of them below it: each receives its "
                        "report, the folder index.html, a table of them")
    p.add_argument("--only-missing", action="store_true", help="make no report where there is one that is newer than the run")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 a report could not be made, the others were; 2 none was; 130 after Ctrl-C."""
    options = parser().parse_args(args)
    return exit_status(lambda: run(options.folders, options.only_missing))


def run(folders: list[Path], only_missing: bool) -> int:
    """Reports of runs, and an index of each folder that holds several. Raises RuntimeError: a folder without a run."""
    from .offline.report_writer import runs_below, write_index
    from .offline.run_reader import is_run, read_metrics

    made, problems = 0, {}
    for folder in folders:
        single = not folder.is_dir() or is_run(folder)
        runs = [folder] if single else runs_below(folder)
        if not runs:
            read_metrics(folder)        # tells what is missing
        failed = _reports(runs, only_missing)
        if not single:
            print(write_index(folder, runs, failed))
        made += len(runs) - len(failed)
        problems |= failed
    return (1 if made else 2) if problems else 0


def _reports(runs: list[Path], only_missing: bool) -> dict[Path, str]:
    """Make them; returns why not, of those that could not be made."""
    from .bags.bag_source import BagError
    from .offline.report_writer import write_report
    from .offline.run_output import RunFiles

    problems: dict[Path, str] = {}
    for folder in runs:
        files = RunFiles(folder)
        if only_missing and files.report.is_file() and files.metrics.is_file() \
                and files.report.stat().st_mtime >= files.metrics.stat().st_mtime:
            continue
        try:
            path = write_report(folder)
        except BagError as error:
            problems[folder] = str(error)
            print(f"error: {error}", file=sys.stderr)
        else:
            print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return problems


if __name__ == "__main__":
    sys.exit(main())
