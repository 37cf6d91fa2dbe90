"""`./run register-many SOURCES... --output DIR`: register many recordings, on all cores of this machine or of a Ray cluster. What is done
is not done again: the same call goes on where an interrupted one ended."""
from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from dalf_core.commands.command_line import HelpWithDefaults, program
from dalf_core.interruption import Interruption
from dalf_core.progress_bar import progress_bar
from dalf_core.weights import LIGHT, OFFICIAL

from .. import register
from ..bags.bag_source import BagError
from ..offline.run_origin import told_options, weights_origin
from .cluster import Share, connected
from .schedule import worked_through
from .sources import Source, find_sources, name_all
from .store import NOT_OF_A_RUN, Store, StoreError, differences, options_hash
from .tables import write_frames, write_runs
from .worker import DONE, FAILED, Job

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
TABLE_EVERY_S = 30.0        # runs.parquet, while the work goes on
SHOWN = 10                  # failures that are told one by one


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("register-many"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("sources", nargs="+", metavar="SOURCE",
                   help="bag, folder of pictures, folder of such, glob, @FILE with one of these a line, or an address such as s3://... for "
                        "what fsspec can read")
    p.add_argument("--output", type=Path, default=Path("out/many"), help="folder for the results; on a cluster one that all machines see")
    p.add_argument("--overwrite", action="store_true", help="register anew what was registered with other options, or has changed since")
    ray = p.add_argument_group("where it runs")
    ray.add_argument("--address", help="host:port of a Ray cluster's head, or auto; without it, this machine's cores")
    ray.add_argument("--cpus-per-recording", type=float, default=1.0, help="cores that each recording gets, and threads that it uses")
    ray.add_argument("--gpus-per-recording", type=float, default=0.0, help="a share of a GPU, such as 0.25; with 0 none is used")
    ray.add_argument("--memory", type=size, default="2G", help="that Ray sets aside for each recording")
    register.add_run_options(p.add_argument_group("of register"))
    return p


def size(text: str) -> int:
    """"2G", "1500M" to bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory: such as 2G or 1500M")
    return int(float(found[1]) * UNITS[found[2].upper()])


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 all recordings are registered; 1 some could not be, or nothing was followed in them; 2 an error, told in one line, and
    nothing was begun; 130 or 143 interrupted."""
    given = parser().parse_args(args)
    try:
        return register_many(given)
    except KeyboardInterrupt:
        print("interrupted; what was done is kept, and the same call goes on from there", file=sys.stderr)
        return 130
    except (BagError, RuntimeError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def register_many(given: argparse.Namespace) -> int:
    """What the command line asks. Returns the exit status. Raises ValueError, RuntimeError, OSError before anything was begun."""
    share = _share(given)
    options = _run_options(given)
    output = given.output.resolve()
    sources = find_sources(given.sources, leave_out=output)
    told = options_of(options)
    with Store(output) as store:
        done, failures = store.done(), store.failures()
        names = name_all([source.told for source in sources],
                         {source: record["name"] for source, record in {**failures, **done}.items()})
        jobs = [Job(names[source.told], source, output, options, told, options_hash(told), source.told in done)
                for source in sources if source.told not in done or _changed(source, done[source.told], told)]
        stale = [job for job in jobs if job.overwrite]
        if stale and not given.overwrite:
            why = _changed(stale[0].source, done[stale[0].source.told], told)
            raise StoreError(f"{_recordings(len(stale))} in {given.output} registered otherwise ({stale[0].name}: {why}): give "
                             "--overwrite to register them anew, or choose another --output")
        print(f"{_recordings(len(sources))}: {len(sources) - len(jobs)} registered already, {len(jobs)} to do")
        wanted = {source.told for source in sources}
        records = {**failures, **done}
        stopped = _work(jobs, store, share, given.address, records) if jobs else 0
        return _report(store, [record for source, record in records.items() if source in wanted], len(sources), stopped)


def _share(given: argparse.Namespace) -> Share:
    """Raises ValueError."""
    for name in ("cpus_per_recording", "gpus_per_recording"):
        value, least = getattr(given, name), 0.1 if name[0] == "c" else 0.0
        if not least <= value < 1e4:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least:g}, not {value:g}")
    for name, value in (("cpus", given.cpus_per_recording), ("gpus", given.gpus_per_recording)):
        if value > 1 and value != int(value):
            raise ValueError(f"--{name}-per-recording above 1 must be a whole number, not {value:g}")
    if given.device.startswith("cuda") and not given.gpus_per_recording:
        raise ValueError(f"--device {given.device} needs --gpus-per-recording, such as 0.25 for four recordings on each GPU")
    return Share(given.cpus_per_recording, given.memory, given.gpus_per_recording)


def _run_options(given: argparse.Namespace) -> argparse.Namespace:
    """The options of `register` alone, with absolute paths: workers have other folders to start from. Raises ValueError."""
    known = vars(register.parser().parse_args(["recording"]))
    options = argparse.Namespace(**{name: getattr(given, name, value) for name, value in known.items()})
    register.check_options(options)
    for name in ("intrinsics", "template", "weights"):
        value = getattr(options, name)
        if isinstance(value, (str, Path)) and value not in ("", LIGHT, OFFICIAL) and Path(value).exists():
            setattr(options, name, type(value)(Path(value).resolve()))
    if options.device == "auto" and not given.gpus_per_recording:
        options.device = "cpu"      # Ray shows no GPU to a task that has not asked for one
    return options


def options_of(options: argparse.Namespace) -> dict[str, Any]:
    """Those that results depend on, with the weights' SHA-256 and the version, as records keep them. Raises WeightsError."""
    told = told_options(options) | weights_origin(options.weights)
    return {name: value for name, value in told.items() if name not in NOT_OF_A_RUN}


def _changed(source: Source, record: dict[str, Any], told: dict[str, Any]) -> str:
    """In which way what was done is not what is asked for; empty where it is."""
    if source.size is not None and record.get("source_bytes") not in (None, source.size):
        return f"the recording had {record['source_bytes']} bytes, and has {source.size}"
    return differences(record["options"], told)


def _work(jobs: list[Job], store: Store, share: Share, address: str | None, records: dict[str, dict[str, Any]]) -> int:
    """Register, and keep `records`, by address, and the table up to date. Returns 0, or the exit status after a signal."""
    with connected(address, share) as slots, Interruption() as interruption:
        print(f"{min(slots, len(jobs))} at once, {share} each")
        failed, written = 0, time.monotonic()
        with progress_bar(total=len(jobs), unit="recording") as bar:
            for record in worked_through(jobs, share, lambda: interruption.asked):
                records[record["source"]] = record
                if record["status"] == FAILED:
                    failed += 1
                    store.write_failure(record)
                bar.set_postfix_str(f"{failed} failed", refresh=False)
                bar.update()
                if time.monotonic() - written > TABLE_EVERY_S:
                    write_runs(store.folder, records.values())
                    written = time.monotonic()
    return interruption.exit_code


def _report(store: Store, of_this_call: list[dict[str, Any]], total: int, stopped: int) -> int:
    """Write the tables of all that is in the folder, tell what came out. Returns the exit status."""
    done = store.done()
    records = {**store.failures(), **done}
    written = [write_runs(store.folder, records.values()),
               write_frames(store.folder, {record["name"]: store.runs / record["name"] for record in done.values()})]
    good = sum(record["status"] == DONE for record in of_this_call)
    bad = [record for record in of_this_call if record["status"] != DONE]
    frames = sum(record.get("frames") or 0 for record in of_this_call)
    print(f"{good} of {_recordings(total)} registered, {frames} frames")
    for record in bad[:SHOWN]:
        print(f"{record['name']}: {record['status']}: {record['error']}", file=sys.stderr)
    if len(bad) > SHOWN:
        print(f"... and {len(bad) - SHOWN} more: {store.folder / 'failed'}, and `error` in the table", file=sys.stderr)
    print("written:\n" + "\n".join(f"  {path}" for path in (*written, store.runs)))
    if done:
        print(f"./run report {store.runs}: a page with a table of them all")
    if stopped:
        print("interrupted; what was done is kept, and the same call goes on from there", file=sys.stderr)
    return stopped or int(good < total)


def _recordings(count: int) -> str:
    return f"{count} recording{'s' * (count != 1)}"
