#!/usr/bin/env python3
"""Hours of work in small: a recording played in a loop through feature_node, registration_node and play, each a process of its own.

    ./run exec python benchmarks/soak.py [--bag BAG] [--minutes 20] [--output soak.png]

Once a second: memory, threads and open files of each process from /proc, and what the nodes say in /diagnostics. Every result topic has a
subscriber. Draws all of it over time to --output, writes the samples beside it (.csv) and prints a table; the first minute is left
out of the comparisons. Exit status 0 when memory stayed within 2 % and threads and files were constant, 1 when not, 130 after Ctrl-C.
Without --bag it is the simulated recording of `./run simulate`, which is made when it is not there.
"""
from __future__ import annotations

import argparse
import csv
import os
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes
from tqdm import tqdm

from dalf_core.drawing.palette import SERIES
from dalf_core.files.whole_file import whole_file
from dalf_ros.launch_support.child_process import Process

NODES = ("feature_node", "registration_node")
STAMP = slice(4, 12)        # of a serialised message that begins with a header
WARM_UP_S, MEMORY_SHARE = 60.0, 0.02
FIELDS = {"memory_mb": "memory, MB", "private_mb": "of it private, MB", "rate_hz": "frames a second", "latency_ms": "latency, ms",
          "dropped": "frames dropped", "threads": "threads", "files": "open files"}


def usage(process: Process) -> dict[str, float]:
    """Resident memory and its private part (MB), threads, open files. Raises RuntimeError when the process has ended."""
    if process.has_ended():
        raise RuntimeError(f"{process.name} ended with {process.exit_status()}; its output: {process.log}")
    folder = Path(f"/proc/{process.pid}")
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {"memory_mb": int(lines["VmRSS"].split()[0]) / 1e3, "private_mb": int(lines["RssAnon"].split()[0]) / 1e3,
            "threads": int(lines["Threads"]), "files": len(os.listdir(folder / "fd"))}


class Listener:
    """Subscribes to every result topic; keeps the newest values of /diagnostics by node, and how late its results come.

    Latency is from a colour image's arrival here to that of the result of its stamp: /clock, which jumps back with every loop, has no part.
    """

    def __init__(self, color: str, color_type: str) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        from dalf_ros.bags.bag_writer import bag_topic
        from dalf_ros.conversions import topics
        from dalf_ros.conversions.message_factory import ros_class
        from dalf_ros.nodes.inputs import IMAGE_QOS, RESULT_QOS

        self.values: dict[str, dict[str, str]] = {}
        self._arrival: dict[bytes, float] = {}
        self._latency_ms: dict[str, list[float]] = {name: [] for name in NODES}
        node = rclpy.create_node("soak_listener")
        node.create_subscription(ros_class(color_type), color, self._image_arrived, IMAGE_QOS, raw=True)
        for name, kind in topics.TYPES.items():
            of_node = {topics.MATCHES: NODES[0], topics.STATUS: NODES[1]}.get(name)
            node.create_subscription(ros_class(kind), bag_topic(name), partial(self._result_arrived, of_node), RESULT_QOS, raw=True)
        node.create_subscription(ros_class("diagnostic_msgs/msg/DiagnosticArray"), "/diagnostics", self._arrived, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def _image_arrived(self, data: bytes) -> None:
        self._arrival[data[STAMP]] = time.monotonic()

    def _result_arrived(self, node: str | None, data: bytes) -> None:
        if node and data[STAMP] in self._arrival:
            self._latency_ms[node].append(1e3 * (time.monotonic() - self._arrival[data[STAMP]]))

    def latency_ms(self, node: str) -> float:
        """Median of the last few results; NaN where there are none."""
        return float(np.median(self._latency_ms[node][-5:])) if self._latency_ms.get(node) else float("nan")

    def _arrived(self, message: Any) -> None:
        for status in message.status:
            self.values[status.name.lstrip("/")] = {pair.key: pair.value for pair in status.values}

    def spin(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)


def arguments_of(bag: Path, found: dict[str, str], options: argparse.Namespace) -> tuple[list[str], list[str], list[str]]:
    """Command lines of feature_node, registration_node and play. found: what describe_bag says of the recording."""
    remappings = [word for name, topic in (("image", "color"), ("depth", "depth"), ("camera_info", "camera_info"))
                  for word in ("-r", f"{name}:={found[topic]}")]
    shared = ["--ros-args", *remappings, "-p", "use_sim_time:=true", "-p", f"image_transport:={found['image_transport']}"]
    play = [str(bag), "--loop", "--clock", "--wait", "120", "--rate", str(options.rate), "--topics", *found["played"].split()]
    return [*shared, "-p", f"top_k:={options.top_k}", "-p", f"image_scale:={options.image_scale}"], shared, play


def soak(bag: Path, options: argparse.Namespace) -> tuple[list[dict[str, Any]], bool]:
    """Run the processes; returns one row a second and node, and whether it was interrupted."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from dalf_ros.launch_support.describe_bag import describe, parser

    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(61, 99))     # heard by nobody else on this machine
    found = describe(parser().parse_args([str(bag)]))
    if not found["depth"] or not found["camera_info"]:
        raise ValueError(f"{bag} has no depth or no camera_info: there is nothing to register")
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    rows: list[dict[str, Any]] = []
    processes: list[Process] = []
    interrupted = False
    try:
        compressed = found["image_transport"] == "compressed"
        listener = Listener(found["color"] + "/compressed" * compressed, f"sensor_msgs/msg/{'Compressed' * compressed}Image")
        for name, words in zip((*NODES, "play"), arguments_of(bag, found, options)):
            processes.append(Process(name, words, options.output.with_name(f"{options.output.stem}_{name}.log")))
        wait_for_frames(listener, processes)
        began = time.monotonic()
        for _ in tqdm(range(round(60 * options.minutes)), desc="soaking", unit="s"):
            listener.spin(1.0)
            rows += [sample(process, listener, time.monotonic() - began) for process in processes]
    except KeyboardInterrupt:
        interrupted = True
    finally:
        codes = {process.name: process.stop() for process in reversed(processes)}
        rclpy.try_shutdown()
    print("exit status: " + ", ".join(f"{name} {code}" for name, code in codes.items()))
    return rows, interrupted


def wait_for_frames(listener: Listener, processes: list[Process]) -> None:
    """Until both nodes have finished a frame. Raises RuntimeError when that does not happen."""
    deadline = time.monotonic() + 180
    while not all(int(listener.values.get(name, {}).get("frames", 0)) for name in NODES):
        listener.spin(0.5)
        for process in processes:
            usage(process)
        if time.monotonic() > deadline:
            raise RuntimeError("the nodes have not finished a frame in 180 s")


def sample(process: Process, listener: Listener, seconds: float) -> dict[str, Any]:
    """One row."""
    said = listener.values.get(process.name, {})
    row: dict[str, Any] = {"seconds": round(seconds, 1), "process": process.name, **usage(process)}
    row["latency_ms"] = listener.latency_ms(process.name)
    for field in ("rate_hz", "dropped"):
        try:
            row[field] = float(said[field])
        except (KeyError, ValueError):
            row[field] = float("nan")
    return row


def series(rows: list[dict[str, Any]], process: str, field: str) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and values of one process."""
    chosen = [(row["seconds"], row[field]) for row in rows if row["process"] == process]
    seconds, values = np.array(chosen, float).T
    return seconds, values


def judge(rows: list[dict[str, Any]], process: str) -> dict[str, Any]:
    """One process after its first minute: where memory's trend begins and ends (Theil and Sen's median slope: a frame's working memory
    comes and goes by some 50 MB), and the other numbers."""
    found: dict[str, Any] = {}
    for field in FIELDS:
        seconds, values = series(rows, process, field)
        late = values[seconds >= min(WARM_UP_S, seconds[-1] / 2)]
        found[field] = late[np.isfinite(late)]
    for field in ("memory_mb", "private_mb"):
        slope, start, *_ = theilslopes(found[field])
        found[f"{field}_early"], found[f"{field}_late"] = float(start), float(start + slope * (len(found[field]) - 1))
    found["growth"] = found["memory_mb_late"] / found["memory_mb_early"] - 1
    found["steady"] = abs(found["growth"]) <= MEMORY_SHARE and np.ptp(found["threads"]) == 0 and np.ptp(found["files"]) == 0
    return found


def table(rows: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """The printed lines, and whether every process was steady."""
    lines = [f"{'':18} {'memory, MB':>16} {'growth':>8} {'private, MB':>16} {'threads':>8} {'files':>8} {'Hz':>6} {'latency ms':>11} "
             f"{'drops':>6}"]
    steady = True
    for process in (*NODES, "play"):
        found = judge(rows, process)
        steady &= bool(found["steady"])
        spans = [f"{values.min():.0f}" if np.ptp(values) == 0 else f"{values.min():.0f}-{values.max():.0f}"
                 for values in (found["threads"], found["files"])]
        said = [f"{np.median(found[field]):.{digits}f}" if len(found[field]) else "" for field, digits in
                (("rate_hz", 2), ("latency_ms", 0))]
        drops = f"{found['dropped'][-1] - found['dropped'][0]:.0f}" if len(found["dropped"]) else ""
        lines.append(f"{process:18} {found['memory_mb_early']:7.1f} -> {found['memory_mb_late']:5.1f} {found['growth']:8.2%} "
                     f"{found['private_mb_early']:7.1f} -> {found['private_mb_late']:5.1f} {spans[0]:>8} {spans[1]:>8} {said[0]:>6} "
                     f"{said[1]:>11} {drops:>6}")
    return lines, steady


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Every number over time, a curve a process."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fields = [field for field in FIELDS if field != "private_mb"]
    figure, axes = pyplot.subplots(3, 2, figsize=(12, 9), sharex=True)
    for field, axis in zip(fields, axes.T.ravel()):
        axis.set_prop_cycle(color=SERIES)
        for process in (*NODES, "play"):
            seconds, values = series(rows, process, field)
            if np.isfinite(values).any():
                axis.plot(seconds / 60, values, label=process)
        axis.set_title(FIELDS[field])
        axis.set_ylim(0, 1.08 * axis.get_ylim()[1])
        axis.axvspan(0, min(WARM_UP_S, seconds[-1] / 2) / 60, color="0.92")
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("minutes")
    axes[0, 0].legend()
    figure.tight_layout()
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def write(rows: list[dict[str, Any]], path: Path) -> None:
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["seconds", "process", *FIELDS])
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bag", type=Path, help="a recording with colour, depth and camera_info; default: the simulated one")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=1.0, help="speed of the recording")
    parser.add_argument("--top-k", type=int, default=800, help="keypoints an image")
    parser.add_argument("--image-scale", type=float, default=0.5, help="0.5: more frames a second, where a CPU finds the features")
    parser.add_argument("--output", type=Path, default=Path("out/soak.png"))
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    from dalf_ros.bags.bag_source import BagError
    from dalf_ros.simulate import default_folder, simulate

    try:
        rows, interrupted = soak(options.bag or simulate(default_folder()), options)
    except (BagError, RuntimeError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not rows:
        return 130
    write(rows, options.output.with_suffix(".csv"))
    draw(rows, options.output)
    lines, steady = table(rows)
    print("\n".join([*lines, str(options.output)]))
    return 130 if interrupted else 0 if steady else 1


if __name__ == "__main__":
    sys.exit(main())
