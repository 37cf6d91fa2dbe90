"""The simulated recording by itself: a cloth before an RGB-D camera, as a rosbag2 folder with the ground truth beside it (docs/demo.md)."""
from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from .nodes.quiet_start import comes_of_interrupt
from .nodes.ros_home import ensure_ros_home

SETTINGS = "settings.json"      # in the folder: what it was made with; written last


def default_folder() -> Path:
    """$ROS_HOME/dalf_demo, or ~/.ros/dalf_demo; where that cannot be written, in a private temporary folder."""
    ensure_ros_home()
    return Path(os.environ.get("ROS_HOME") or Path.home() / ".ros").expanduser() / "dalf_demo"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="simulate", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--output", type=Path, default=default_folder(), help="folder for bag/ and truth.npz; kept when it holds them already")
    p.add_argument("--frames", type=int, default=180, help="frames of the 6 second recording; 180 make 30 a second")
    p.add_argument("--seed", type=int, default=0, help="of the sensor's noise")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 the recording is there, 2 an error, 130 interrupted; with --ros-args, as launch starts it, 0 for that too."""
    words = list(sys.argv[1:] if args is None else args)
    of_launch = "--ros-args" in words       # which calls everything but 0 a death
    options = parser().parse_args(words[:words.index("--ros-args")] if of_launch else words)
    try:
        print(f"recording: {simulate(options.output, options.frames, options.seed)}")
    except KeyboardInterrupt:
        return 0 if of_launch else 130
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if comes_of_interrupt(error):
            return 0 if of_launch else 130
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def simulate(folder: Path, frames: int = 180, seed: int = 0) -> Path:
    """Make the recording, unless it is there; returns its bag folder. Raises ValueError when the folder holds something else."""
    folder = folder.expanduser().absolute()
    wanted = {"frames": frames, "seed": seed}
    if (folder / SETTINGS).is_file():
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if found != wanted:
            raise ValueError(f"{folder} holds a recording made with {found}, not {wanted}; delete it or give another --output")
        return folder / "bag"
    if folder.exists():
        raise ValueError(f"{folder} exists and holds no simulated recording; give another --output")
    if frames < 2 or seed < 0:
        raise ValueError("--frames must be at least 2, --seed not negative")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        _record(partial, frames, seed)
        (partial / SETTINGS).write_text(json.dumps(wanted), encoding="utf-8")
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / "bag"


def _record(folder: Path, frames: int, seed: int) -> None:
    from dalf_core.progress_bar import progress_bar

    from .simulation.recording import record

    folder.mkdir(parents=True)
    with progress_bar(total=2 * frames, desc="simulating", unit="step") as bar:
        record(folder / "bag", folder / "truth.npz", frames=frames, seed=seed, progress=lambda _stage, _number: bar.update() and None)


if __name__ == "__main__":
    sys.exit(main())
