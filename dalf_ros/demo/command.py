"""`./run demo`: simulate a cloth before an RGB-D camera, follow it offline and through live ROS nodes, compare with the truth."""
from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from dalf_core.options import DEVICE, PRECISION, TOP_K, WEIGHTS, add_options
from dalf_core.progress_bar import progress_bar

from ..bags.bag_source import BagError
from ..simulation.recording import MASK_TOPIC
from ..simulation.truth import GroundTruth

MARK = ".dalf_demo"
MADE = ("bag", "registration", "logs", "truth.npz", "errors.json", "errors.png", "errors_live.json")
LEAST_TRACKED = 0.6
LIVE_SPEED = 0.5


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="demo", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--output", type=Path, default=Path("out/demo"), help="folder for everything; an earlier demo in it is replaced")
    p.add_argument("--frames", type=int, default=180, help="frames of the 6 second recording; 180 make 30 a second")
    p.add_argument("--seed", type=int, default=0, help="of the sensor's noise")
    add_options(p, TOP_K.changed(default=800, low=100), WEIGHTS, DEVICE, PRECISION)
    p.add_argument("--no-live", action="store_true", help="leave out the live nodes")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 all worked; 1 a part did not; 2 it could not begin; 130 interrupted."""
    options = parser().parse_args(args)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")   # waiting threads of PyTorch must not keep the nodes from the cores
    started = time.perf_counter()
    try:
        _check(options)
        output = _prepare(options.output)
        problems = _demo(options, output)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (BagError, RuntimeError, ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\nThe demo took {time.perf_counter() - started:.0f} s. Look at:")
    for name in ("registration/contact_sheet.png", "errors.png", "registration/video.mp4"):
        print(f"  {output / name}")
    print(f"Recording: {output / 'bag'}, ground truth: {output / 'truth.npz'}, results: {output / 'registration' / 'results'}")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _check(options: argparse.Namespace) -> None:
    """Whatever could fail late is tried first: weights, drawing, ROS."""
    from dalf_core.drawing.render import check_rendering
    from dalf_core.weights import load_network

    if options.frames < 10 or options.seed < 0:
        raise ValueError("--frames must be at least 10, --seed not negative")
    load_network(options.weights or None)
    check_rendering()
    if not options.no_live:
        try:
            import rclpy  # noqa: F401
            from dalf.msg import MatchArray  # noqa: F401
        except ImportError as error:
            raise RuntimeError(f"ROS 2 with this package's messages is not in the environment ({error}): start it as ./run demo") from error


def _prepare(path: Path) -> Path:
    """The output folder, without what an earlier demo left there. Raises ValueError when it holds something else."""
    if path.exists() and any(path.iterdir()) and not (path / MARK).exists():
        raise ValueError(f"{path} is not empty and no earlier demo's folder; give another --output")
    path.mkdir(parents=True, exist_ok=True)
    (path / MARK).touch()
    for name in MADE:
        target = path / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    return path


def _demo(options: argparse.Namespace, output: Path) -> list[str]:
    """All parts in turn. Returns what did not work."""
    from .evaluation import evaluate, named_points_of, plot_errors, results_of, write_errors
    from .point_errors import compare_points, text_of

    truth = _simulate(options, output)
    _register(options, output, truth)
    summary, frames = evaluate(output / "registration", truth)
    write_errors(output / "errors.json", summary, frames)
    plot_errors(output / "errors.png", summary, frames)
    print(summary.text())
    print(text_of(compare_points(named_points_of(output / "registration"), results_of(output / "registration")[1], truth)))
    problems = []
    if summary.tracked_share < LEAST_TRACKED:
        problems.append(f"only {summary.tracked_share:.0%} of the frames were tracked offline")
    if not options.no_live:
        problems += _live(options, output, truth)
    return problems


def _simulate(options: argparse.Namespace, output: Path):
    """Part one: the recording and its truth."""
    from ..simulation.recording import record

    print(f"[1/3] Simulating a cloth before an RGB-D camera: {options.frames} frames")
    bars: dict[str, Any] = {}

    def progress(stage: str, _number: int) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = progress_bar(total=options.frames, desc=stage, unit="frame")
        bars[stage].update()

    try:
        return record(output / "bag", output / "truth.npz", frames=options.frames, seed=options.seed, progress=progress)
    finally:
        for bar in bars.values():
            bar.close()


def _register(options: argparse.Namespace, output: Path, truth: GroundTruth) -> None:
    """Part two: offline, by the same code as ./run register. Raises RuntimeError when it failed, KeyboardInterrupt when interrupted."""
    from .. import register
    from .point_errors import wanted_of

    print("[2/3] Following it offline, every frame")
    words = [str(output / "bag"), "--output", str(output / "registration"), "--mask-topic", MASK_TOPIC, "--top-k", str(options.top_k),
             "--device", options.device, "--precision", options.precision]
    for point in wanted_of(truth):
        words += ["--track-point", str(point)]
    code = register.main(words + (["--weights", options.weights] if options.weights else []))
    if code in (130, 143):
        raise KeyboardInterrupt
    if code != 0:
        raise RuntimeError("following the recording offline failed, see above")


def _live(options: argparse.Namespace, output: Path, truth: GroundTruth) -> list[str]:
    """Part three: the nodes as processes of their own. Returns what did not work."""
    from .evaluation import compare, write_errors
    from .live import SURFACE_TOPICS, LiveError, LiveSetup, run_live
    from .live_report import measure, messages_of, points_of, status_of
    from .played_recording import PlayedRecording
    from .point_errors import compare_points, text_of, wanted_of

    print(f"[3/3] Playing it at {LIVE_SPEED:g} times its speed through feature_node and registration_node, each a process of its own")
    logs = output / "logs"
    logs.mkdir()
    recording = PlayedRecording.read(output / "bag", MASK_TOPIC)
    parameters = {"device": options.device, "precision": options.precision, "top_k": str(options.top_k),
                  "track_points": " ".join(map(str, wanted_of(truth)))}
    parameters |= {"weights": options.weights} if options.weights else {}
    setup = LiveSetup(recording, LIVE_SPEED, parameters=parameters)
    try:
        loop, = run_live(setup, logs)
    except LiveError as error:
        return [f"live nodes: {error}"]
    problems = [f"nothing came on {topic}" for topic in SURFACE_TOPICS if not loop.arrivals[topic]]
    known = set(truth.stamps_ns.tolist())
    problems += [f"{topic} carries stamps that are not the sensor's" for topic in SURFACE_TOPICS
                 if not known.issuperset(arrival.stamp_ns for arrival in loop.arrivals[topic])]
    try:
        write_errors(output / "errors_live.json", *compare(messages_of(loop), status_of(loop), truth))
    except RuntimeError as error:
        return [*problems, f"live nodes: {error}"]
    try:
        report = measure([loop], recording, LIVE_SPEED, truth)
        print(f"{report.table()}\nlive: {report.line()}\n{text_of(compare_points(points_of(loop), status_of(loop), truth))}")
    except ValueError as error:
        print(f"live: not measured: {error}")
    return problems
