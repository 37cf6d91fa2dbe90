#!/usr/bin/env python3
"""Non-rigid registration: ours beside Open3D, trimesh and pycpd, in one run on the same tasks; then tracking by number of nodes.

    ./run exec python benchmarks/registration.py [--picture OUT.png]

The tasks are made here (bending_sheet.py): a sheet of some 5000 vertices bent by 25, 70 or 130 degrees, waved, stretched and moved, seen
as a 320x240 depth image with 1 mm noise and a fifth of the readings missing, and 200 landmarks of which a third are wrong. Errors are
over all vertices, hidden ones too. CPU seconds are of one thread and include all set-up a method needs. Peers that are not installed are
left out, and a line says what to install. Quote ratios: absolute times are the machine's.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from bending_sheet import CAMERA, LEVELS, Task, View, make_sequence, make_task
from registration_methods import METHODS, run_ours
from tqdm import tqdm

from dalf_core import NonRigidRegistration
from dalf_core.files.whole_file import whole_file
from dalf_core.registration.devices import solver_on
from dalf_core.registration.graph import automatic_spacing, build_graph

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
DEVICES = ("cpu", "cuda")
SECTIONS = ("tasks", "outliers", "tracking")
HARD_VIEW = View(outliers=0.6, coherent=0.5)
# nodes asked for, and the view: a mesh of 50 000 vertices is what a 640x480 camera sees
TRACKING = [*((nodes, View()) for nodes in (100, 200, 450, 1000, 2000)), (2000, View(vertices=50_000, camera=CAMERA.scaled(640, 480)))]
PICTURE_LIMIT = 20.0                # millimetres at the end of the colour scale
WARM_UP_SEED = 10_000


def rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown, columns aligned."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print()


# ---------------------------------------------------------------- all methods

def compare(levels: Sequence[str], methods: Sequence[str], seeds: range) -> dict[tuple[str, str, int], tuple[np.ndarray, float]]:
    """By (level, method, seed): vertices found, CPU seconds."""
    for name in methods:
        for needed in METHODS[name].needs:
            import_module(needed)                        # loading a library is no part of its time
    found = {}
    with tqdm(total=len(levels) * len(methods) * len(seeds), desc="tasks", unit="run") as bar:
        for level in levels:
            for seed in seeds:
                task = make_task(level, seed)
                for name in methods:
                    bar.set_postfix_str(f"{level} {seed} {name}")
                    started = time.process_time()
                    vertices = METHODS[name].run(task)
                    found[level, name, seed] = vertices, time.process_time() - started
                    bar.update()
    return found


def report_tasks(levels: Sequence[str], methods: Sequence[str], seeds: range, picture: Path | None) -> None:
    found = compare(levels, methods, seeds)
    rows = []
    for name in methods:
        row = [METHODS[name].title, METHODS[name].landmarks]
        for level in levels:
            errors = [make_task(level, seed).errors_m(found[level, name, seed][0]) * 1e3 for seed in seeds]
            seconds = np.mean([found[level, name, seed][1] for seed in seeds])
            row.append(f"{np.mean([rms(e) for e in errors]):.2f} / {np.mean([np.percentile(e, 95) for e in errors]):.2f} / {seconds:.2f}")
        rows.append(row)
    print(f"\nRMSE mm / 95th percentile mm / CPU s, mean of {len(seeds)} seeds. Landmarks: `raw` = a third of them wrong; "
          "`oracle` = only right ones were given, as the method has no defence.\n")
    print_table(["method", "landmarks", *levels], rows)
    if picture is not None:
        draw({(level, name): found[level, name, seeds[0]][0] for level in levels for name in methods}, levels, methods, seeds[0], picture)
        print(f"wrote {picture}\n")


# ---------------------------------------------------------------- ours with many outliers

def report_outliers(levels: Sequence[str], seeds: range) -> None:
    rows = []
    with tqdm(total=2 * len(levels) * len(seeds), desc="outliers", unit="run") as bar:
        for level in levels:
            for title, view in ((f"{View().outliers:.0%} random", View()),
                                (f"{HARD_VIEW.outliers:.0%}, {HARD_VIEW.coherent:.0%} of them coherent", HARD_VIEW)):
                rows.append([level, title, *_outlier_row(level, view, seeds, bar.update)])
    print("\nOurs by outliers, mean of", len(seeds), "seeds. CPU s: setting the reference + cold start.\n")
    print_table(["level", "wrong landmarks", "RMSE mm", "95th mm", "wrong ones kept", "right ones kept", "CPU s", "status"], rows)


def _outlier_row(level: str, view: View, seeds: range, step: Callable[[], object]) -> list[str]:
    errors, wrong_kept, right_kept, seconds, statuses = [], [], [], [], Counter()
    for seed in seeds:
        task = make_task(level, seed, view)
        run = run_ours(task)
        errors.append(task.errors_m(run.result.vertices) * 1e3)
        wrong_kept.append(run.result.inlier[task.wrong].mean())
        right_kept.append(run.result.inlier[~task.wrong].mean())
        seconds.append((run.reference_seconds, run.register_seconds))
        statuses[run.result.status] += 1
        step()
    reference, register = np.mean(seconds, axis=0)
    return [f"{np.mean([rms(e) for e in errors]):.2f}", f"{np.mean([np.percentile(e, 95) for e in errors]):.2f}",
            f"{np.mean(wrong_kept):.1%}", f"{np.mean(right_kept):.0%}", f"{reference:.3f} + {register:.3f}", _counts(statuses)]


def _counts(statuses: Counter) -> str:
    return ", ".join(f"{count} {status}" for status, count in statuses.most_common())


# ---------------------------------------------------------------- tracking

def report_tracking(configurations: Sequence[tuple[int, View]], devices: Sequence[str], frames: int, seed: int) -> None:
    rows = []
    with tqdm(total=len(devices) * len(configurations) * frames, desc="tracking", unit="frame") as bar:
        for device in devices:
            warm_up = make_task("small", WARM_UP_SEED)
            run_ours(warm_up, device=device)             # compiles
            for nodes, view in configurations:
                rows.append(track(nodes, view, device, frames, seed, bar.update))
    print(f"\nOurs, tracking from small to large and back in {frames} frames, a third of the landmarks wrong. Median / 95th percentile of "
          "the frames after the first, which is a cold start.\n")
    print_table(["nodes", "points", "depth", "device", "first, CPU ms", "CPU ms a frame", "wall ms a frame", "RMSE mm", "status"], rows)


def track(nodes: int, view: View, device: str, frames: int, seed: int, step: Callable[[], object]) -> list[str]:
    """One row of the table."""
    registration, cpu, wall, errors, statuses = NonRigidRegistration(view.camera, device), [], [], [], Counter()
    for index, task in enumerate(make_sequence(seed, view, frames)):
        if index == 0:
            registration.node_spacing = spacing_for(nodes, task)
            registration.set_reference_surface(task.reference)
        used, started = time.thread_time(), time.perf_counter()
        result = registration.register_points(task.depth, task.landmark_source, task.landmark_target)
        cpu.append(1e3 * (time.thread_time() - used))
        wall.append(1e3 * (time.perf_counter() - started))
        errors.append(1e3 * rms(task.errors_m(result.vertices)))
        statuses[result.status] += 1
        step()
    graph, camera = registration.graph, view.camera
    return [str(len(graph)), str(len(task.truth)), f"{camera.width}x{camera.height}", registration.device, f"{cpu[0]:.0f}",
            *(f"{np.median(x):.1f} / {np.percentile(x, 95):.1f}" for x in (cpu[1:], wall[1:], errors[1:])), _counts(statuses)]


def usable(devices: Sequence[str]) -> list[str]:
    """Those that are there; a line says why another is left out."""
    found = []
    for device in devices:
        try:
            solver_on(device)
            found.append(device)
        except RuntimeError as error:
            print(f"{device} is left out: {error}", file=sys.stderr)
    return found


def spacing_for(nodes: int, task: Task) -> float:
    """Metres between nodes that gives so many within 1 %, or nearly: tried on graphs, as it depends on the mesh."""
    low, high = 0.0, float(np.ptp(task.reference.vertices, axis=0).max())
    spacing = automatic_spacing(task.reference)
    for _ in range(12):
        count = len(build_graph(task.reference, spacing))
        if abs(count - nodes) <= 0.01 * nodes:
            break
        low, high = (spacing, high) if count > nodes else (low, spacing)
        guess = spacing * np.sqrt(count / nodes)
        spacing = guess if low < guess < high else (low + high) / 2
    return float(spacing)


# ---------------------------------------------------------------- picture

def draw(found: dict[tuple[str, str], np.ndarray], levels: Sequence[str], methods: Sequence[str], seed: int, path: Path) -> None:
    """Each result as a mesh seen from aside, coloured by its distance to the truth; written atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.0 * len(methods) + 1.0, 2.7 * len(levels)), layout="constrained")
    FigureCanvasAgg(figure)
    colors = ScalarMappable(Normalize(0, PICTURE_LIMIT), "viridis")
    for row, level in enumerate(levels):
        task = make_task(level, seed)
        for column, name in enumerate(methods):
            axes = figure.add_subplot(len(levels), len(methods), row * len(methods) + column + 1, projection="3d")
            _draw_mesh(axes, found[level, name], task, colors)
            error = 1e3 * rms(task.errors_m(found[level, name]))
            axes.set_title(f"{METHODS[name].title}, {level}\nRMSE {error:.1f} mm", fontsize=10)
    figure.colorbar(colors, ax=figure.axes, label="distance to the truth, mm", extend="max", shrink=0.7)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=90)


def _draw_mesh(axes, vertices: np.ndarray, task: Task, colors) -> None:
    """With x to the right, depth to the back and y down; all pictures of a task have the truth's frame."""
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    triangles = task.reference.triangles
    swapped = vertices[:, [0, 2, 1]] * [1, 1, -1]
    error = 1e3 * task.errors_m(vertices)[triangles].mean(axis=1)
    axes.add_collection3d(Poly3DCollection(swapped[triangles], facecolors=colors.to_rgba(error), edgecolors="none", antialiased=False))
    truth = task.truth[:, [0, 2, 1]] * [1, 1, -1]
    middle, reach = (truth.min(axis=0) + truth.max(axis=0)) / 2, np.ptp(truth, axis=0).max() / 2
    axes.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach),
             zlim=(middle[2] - reach, middle[2] + reach))
    axes.set_box_aspect((1, 1, 1), zoom=1.45)
    axes.view_init(elev=25, azim=-65)
    axes.set_axis_off()


# ---------------------------------------------------------------- command line

def choices(known: Sequence[str]) -> Callable[[str], list[str]]:
    """For argparse: a comma-separated choice among the known names."""
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        wrong = [name for name in names if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: choose from {', '.join(known)}")
        return names
    return parse


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=positive, default=3, help="tasks a level (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first task's seed (default %(default)s)")
    parser.add_argument("--levels", type=choices(list(LEVELS)), default=list(LEVELS), help=f"some of {','.join(LEVELS)}")
    parser.add_argument("--methods", type=choices(list(METHODS)), default=list(METHODS), help=f"some of {','.join(METHODS)}")
    parser.add_argument("--sections", type=choices(SECTIONS), default=list(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--frames", type=positive, default=120, help="of tracking (default %(default)s: 4 s at 30 Hz)")
    parser.add_argument("--nodes", type=positive, nargs="+", help="track with so many nodes and 5000 points, instead of the table's")
    parser.add_argument("--devices", type=choices(DEVICES), default=["cpu"],
                        help="track on some of cpu,cuda (default cpu); cuda needs a GPU and requirements/cuda.txt")
    parser.add_argument("--picture", type=Path, help="PNG to write: each result of the first seed, coloured by error")
    options = parser.parse_args(argv)
    if options.first_seed < 0:
        parser.error("--first-seed must not be negative")
    if options.frames < 2:
        parser.error("--frames must be 2 or more: the first is a cold start")
    if options.picture and (options.picture.suffix.lower() != ".png" or not options.picture.absolute().parent.is_dir()):
        parser.error(f"--picture {options.picture}: must be a .png in a folder that is there")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    methods = []
    for name in options.methods:
        missing = METHODS[name].missing()
        if missing:
            print(missing, file=sys.stderr)
        else:
            methods.append(name)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    warm_up = make_task("small", WARM_UP_SEED)
    run_ours(warm_up)                                    # compiles; the second run is as all later ones
    if "tasks" in options.sections:
        report_tasks(options.levels, methods, seeds, options.picture)
    if "outliers" in options.sections:
        report_outliers(options.levels, seeds)
    if "tracking" in options.sections:
        configurations = TRACKING if options.nodes is None else [(nodes, View()) for nodes in options.nodes]
        devices = usable(options.devices)
        if devices:
            report_tracking(configurations, devices, options.frames, seeds[0])
    return 0


def start_single_threaded() -> None:
    """Start anew where the environment allows more threads: the libraries read it when they are loaded."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **ONE_THREAD})


if __name__ == "__main__":
    try:
        start_single_threaded()
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
