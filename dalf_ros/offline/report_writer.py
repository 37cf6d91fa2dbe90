"""report.html of a run, and index.html of a folder of runs."""
from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from dalf_core.reports.film import thumbnail
from dalf_core.reports.index_page import index_page
from dalf_core.reports.report_page import report_page, save_page
from dalf_core.reports.run_report import RunLine

from ..bags.bag_source import BagError
from .run_output import RunFiles
from .run_reader import is_run, read_metrics, read_run, run_name

INDEX = "index.html"
DEEPEST = 4         # levels of folders below the one that is named


def write_report(folder: Path) -> Path:
    """report.html beside the run's other results; replaces an earlier one. Raises BagError."""
    path = RunFiles(folder).report
    report = read_run(folder)
    try:
        save_page(path, report_page(report))
    except OSError as error:
        raise BagError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def runs_below(folder: Path) -> list[Path]:
    """The folders of runs below a folder, by name; a run holds no others."""
    found: list[Path] = []
    level = [folder]
    for _ in range(DEEPEST):
        children = sorted(child for parent in level for child in parent.iterdir() if child.is_dir() and not child.is_symlink())
        found += [child for child in children if is_run(child)]
        level = [child for child in children if not is_run(child)]
    return sorted(found)


def write_index(folder: Path, runs: list[Path], problems: dict[Path, str]) -> Path:
    """index.html: a table of the runs, which lie below the folder; problems: of those that have no report. Raises BagError."""
    path = folder / INDEX
    try:
        save_page(path, index_page(folder.resolve().name, [_line(run, folder, problems.get(run, "")) for run in runs]))
    except OSError as error:
        raise BagError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _line(run: Path, folder: Path, problem: str) -> RunLine:
    name, files = run.relative_to(folder).as_posix(), RunFiles(run)
    try:
        metrics = read_metrics(run)
    except BagError as error:
        return RunLine(name, "", {}, None, problem or str(error))
    link = quote(files.report.relative_to(folder).as_posix()) if files.report.is_file() else ""
    return RunLine(name, link, metrics["summary"] | {"name": run_name(run, metrics)}, thumbnail(files.video, files.sheet), problem)
