"""SurfaceClient and the examples that use it, on a registration_node process that follows a relief whose motion is known."""
from __future__ import annotations

import csv
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dalf_core.lens import Lens

rclpy = pytest.importorskip("rclpy")

from dalf_ros.client import SurfaceClient, SurfaceClientError  # noqa: E402

from ..test_registration_node import CAMERA, REST, STEP, Bench  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "ros"
NAMESPACE = "/asked"


@pytest.fixture(scope="module")
def bench(ros_graph, peer) -> Iterator[Bench]:
    made = Bench(ros_graph, peer, NAMESPACE)
    yield made
    assert made.node.stop() == 0 and "Traceback" not in made.node.output, made.node.output


@pytest.fixture
def scene(bench: Bench, relief):
    bench.begin()
    made = relief(Lens(CAMERA))
    assert bench.answer(bench.send(made)).status == 1
    return made


@pytest.fixture
def client(ros_graph, bench: Bench) -> Iterator[SurfaceClient]:
    """In the module's domain, on a node that a thread spins."""
    from rclpy.executors import SingleThreadedExecutor

    node = rclpy.create_node("asking", context=ros_graph.context)
    executor = SingleThreadedExecutor(context=ros_graph.context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    with SurfaceClient(NAMESPACE, node=node) as made:
        thread.start()
        bench.peer.be_known_to(f"{NAMESPACE}/registration_node")        # of the client's node as well: they are one DDS participant
        yield made
        executor.shutdown()
        thread.join()
    node.destroy_node()


def sent(bench: Bench, scene, client: SurfaceClient, *shifts: np.ndarray) -> list:
    """The surfaces of frames moved by each shift."""
    found = []
    for shift in shifts:
        stamp = bench.send(scene, shift)
        assert bench.peer.until(lambda stamp=stamp: client.newest is not None and client.newest.stamp_ns == stamp), bench.node.output
        found.append(client.newest)
    return found


def test_the_surface_is_where_it_is(bench: Bench, scene, client: SurfaceClient) -> None:
    first, second = sent(bench, scene, client, REST, 3 * STEP)
    assert (second.status, second.reason, client.state) == ("tracked", "", "tracked") and second.residual_m < 1e-3
    assert second.frame_id == "camera_color_optical_frame" and second.reference_stamp_ns == bench.began + 100_000_000
    assert second.triangles.max() < len(second.vertices) == len(second.reference_vertices) == len(second.visible) > 500
    inner = second.visible & (abs(second.reference_vertices[:, :2]) < 0.1).all(axis=1)
    moved = (second.vertices - second.reference_vertices)[inner]
    np.testing.assert_allclose(moved, np.broadcast_to(3 * STEP, moved.shape), atol=2.5e-3)
    np.testing.assert_allclose(second.warp(second.reference_vertices[inner]), second.vertices[inner], atol=2e-4)
    np.testing.assert_allclose(first.vertices, first.reference_vertices, atol=2e-3)


def test_places_beside_the_surface_are_not_warped(bench: Bench, scene, client: SurfaceClient) -> None:
    surface, = sent(bench, scene, client, STEP)
    with pytest.raises(ValueError, match=r"\(5.000, 0.000, 0.600\) is .* away from the reference surface"):
        surface.warp([[0, 0, 0.6], [5, 0, 0.6]])
    with pytest.raises(ValueError, match="finite"):
        surface.warp([[0, 0, np.nan]])
    assert surface.warp(np.zeros((0, 3))).shape == (0, 3)


def test_points_are_named_followed_and_forgotten(bench: Bench, scene, client: SurfaceClient) -> None:
    sent(bench, scene, client, STEP)
    client.track_point("pixel", pixel=(100, 80))
    place = scene.points(np.array([[60.0, 50.0]]), STEP)[0]
    client.track_point("place", position=place)
    surface, = sent(bench, scene, client, 3 * STEP)
    assert list(surface.points) == client.point_names() == ["pixel", "place"]
    assert np.linalg.norm(surface.points["place"].position - place - 2 * STEP) < 2.5e-3
    client.forget_point("pixel")
    assert client.point_names() == ["place"]
    with pytest.raises(SurfaceClientError, match="no point is named 'pixel'"):
        client.forget_point("pixel")
    with pytest.raises(ValueError, match="give one of them"):
        client.track_point("both", pixel=(1, 2), position=(0, 0, 1))
    with pytest.raises(ValueError, match="zip"):
        client.track_point("flat", position=(0, 0))


def test_waiting(bench: Bench, scene, client: SurfaceClient) -> None:
    sent(bench, scene, client, STEP)
    found: list = []
    waiting = threading.Thread(target=lambda: found.append(client.wait_for_tracked()))
    waiting.start()
    time.sleep(0.2)
    assert not found        # the one that is there already does not count
    lost = bench.send(scene, STEP, depth=np.zeros((144, 192), np.float32))
    assert bench.answer(lost).status == 3
    assert bench.peer.until(lambda: client.newest.stamp_ns == lost)
    assert not found and client.newest.status == "lost"
    stamp = bench.send(scene, 2 * STEP)
    assert bench.peer.until(lambda: found) and found[0].stamp_ns == stamp
    waiting.join()
    with pytest.raises(SurfaceClientError, match="no such surface within 0.2 s: tracked"):
        client.wait_for_tracked(0.2)


def test_every_surface_comes_in_order(bench: Bench, scene, client: SurfaceClient) -> None:
    found: list = []
    taking = threading.Thread(target=lambda: found.extend(client.surfaces(silence_s=10)))
    taking.start()
    time.sleep(0.2)
    stamps = [surface.stamp_ns for surface in sent(bench, scene, client, REST, STEP, 2 * STEP)]
    taking.join()
    assert [surface.stamp_ns for surface in found] == stamps


def test_files(bench: Bench, scene, client: SurfaceClient, tmp_path: Path, load_ply) -> None:
    surface, = sent(bench, scene, client, STEP)
    written = client.save_surface("dalf_client_test.ply", overwrite=True)
    try:
        np.testing.assert_allclose(load_ply(written).vertices, surface.vertices, atol=1e-6)
        with pytest.raises(SurfaceClientError, match="save_surface: .*exists"):
            client.save_surface(written.name)
    finally:
        written.unlink()
    with pytest.raises(SurfaceClientError, match="save_template: .*colour image"):
        client.save_template("none.dalf")
    with pytest.raises(SurfaceClientError, match="select_object: "):
        client.select_object(pixel=(-5, 10))
    with pytest.raises(ValueError, match="give one of them"):
        client.select_object()


def test_what_is_not_there_is_told(ros_domain: int) -> None:
    with SurfaceClient("/nowhere") as client:
        assert client.newest is None and client.state == ""
        with pytest.raises(SurfaceClientError, match="nobody publishes /nowhere/status. Start the nodes"):
            client.wait_for_surface(0.3)
        with pytest.raises(SurfaceClientError, match="nobody publishes /nowhere/status"):
            list(client.surfaces(0.1))
        with pytest.raises(SurfaceClientError, match="/nowhere/feature_node/reset is not there after 0.3 s: is feature_node running"):
            client.reset(0.3)


# ---------------------------------------------------------------- the examples

def run_example(bench: Bench, scene, ros_graph, name: str, *words: object) -> list[str]:
    """What an example prints while the surface moves a little with each frame, until the example ends."""
    process = ros_graph.start(sys.executable, str(EXAMPLES / name), *map(str, words), "--ros-args", "-r", f"__ns:={NAMESPACE}")
    number = 0

    def ended() -> bool:
        nonlocal number
        number += 1
        bench.answer(bench.send(scene, 0.2 * STEP * (number % 20)))
        return process.process.poll() is not None

    assert bench.peer.until(ended, 180), process.output
    assert process.wait() == 0, process.output
    return [line for line in process.lines if not line.startswith("waiting")]


def test_grasp_point(bench: Bench, scene, ros_graph) -> None:
    lines = run_example(bench, scene, ros_graph, "grasp_point.py", 100, 80, "--frames", 5)
    places = np.array([[float(word) for word in re.search(r"grasp at \[(.*?)\]", line)[1].split()] for line in lines])
    assert places.shape == (5, 3)
    at = scene.height(places[:, 0], places[:, 1])
    assert abs(places[:, 2] - at).max() < 5e-3 and (np.linalg.norm(np.diff(places, axis=0), axis=1) < 0.02).all()


def test_strain(bench: Bench, scene, ros_graph) -> None:
    lines = run_example(bench, scene, ros_graph, "strain.py", 60, 50, 120, 90, "--frames", 5)
    strains = [float(re.search(r"strain ([+-][\d.]+)%", line)[1]) for line in lines]
    assert len(strains) == 5 and max(map(abs, strains)) < 2 and all("both seen" in line for line in lines)


def test_export_sequence(bench: Bench, scene, ros_graph, tmp_path: Path, load_ply) -> None:
    lines = run_example(bench, scene, ros_graph, "export_sequence.py", tmp_path / "meshes", "--frames", 3)
    assert lines == [f"written: {tmp_path / 'meshes'}"]
    with open(tmp_path / "meshes" / "frames.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["tracked"] * 3
    meshes = [load_ply(tmp_path / "meshes" / row["file"]) for row in rows]
    moved = np.median(meshes[1].vertices - meshes[0].vertices, axis=0)
    assert len(meshes[0].triangles) > 500 and np.linalg.norm(moved) < 0.02
