"""What is logged for the Rerun viewer, read back by Rerun."""
from __future__ import annotations

import argparse
import socket
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.viewing.rerun_log import GRPC_PORT, WEB_PORT, RerunLog, rerun_target

rerun = pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install -r requirements/rerun.txt")
chunk = pytest.importorskip("rerun.chunk", reason="this rerun-sdk cannot read its own files")

RED = np.zeros((24, 32, 3), np.uint8)
RED[:, :, 2] = 250          # BGR


def logged(path) -> dict[str, list[tuple[int, float, dict]]]:
    """By entity: frame, seconds and components of each row."""
    found: dict[str, list] = {}
    for part in chunk.RrdReader(str(path)).store().stream():
        batch = part.to_record_batch()
        names = [name for name in batch.schema.names if ":" in name]
        for row in range(batch.num_rows):
            if "frame" in batch.schema.names:
                time_s = batch.column("time")[row].value / 1e9
                found.setdefault(part.entity_path, []).append(
                    (batch.column("frame")[row].as_py(), time_s, {name: batch.column(name)[row].as_py() for name in names}))
    return {entity: sorted(rows, key=lambda row: row[0]) for entity, rows in found.items()}


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "run.rrd"
    vertices, end = np.eye(3, dtype=np.float32), np.array([[3, 4], [8, 9]], np.float32)
    with RerunLog(str(path), "test") as log:
        for number in range(3):
            log.frame(number, 0.5 * number)
            log.image(RED)
            log.matches(end - 1, end + number)
            log.surface((number + 1) * vertices, np.array([[0, 1, 2]]), np.full((3, 3), 100, np.uint8), np.array([True, True, False]))
            log.status(f"tracked {number}")
    rows = logged(path)
    for entity in ("/image", "/image/matches/now", "/surface", "/status", "/matches", "/visible"):
        assert [(frame, time_s) for frame, time_s, _ in rows[entity]] == [(0, 0.0), (1, 0.5), (2, 1.0)], entity
    last = {entity: values[-1][2] for entity, values in rows.items()}
    picture = cv2.imdecode(np.array(last["/image"]["EncodedImage:blob"][0], np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(picture.astype(int) - RED).max() < 12
    assert last["/image/matches/now"]["Points2D:positions"] == [[5, 6], [10, 11]]
    assert last["/surface"]["Mesh3D:vertex_positions"] == (3 * vertices).tolist()
    assert last["/surface"]["Mesh3D:triangle_indices"] == [[0, 1, 2]]
    plain, _, unseen = last["/surface"]["Mesh3D:vertex_colors"]
    assert plain >> 8 == 0x646464 and unseen >> 8 == 0xA2517F          # 0.45 of 100, and 0.55 of pink (214, 66, 150)
    assert last["/status"]["TextLog:text"] == ["tracked 2"]
    assert last["/matches"]["Scalars:scalars"] == [2.0] and last["/visible"]["Scalars:scalars"] == [pytest.approx(2 / 3)]


def test_what_cannot_be(tmp_path):
    assert rerun_target("serve") == "serve" and rerun_target("a/b.rrd") == "a/b.rrd"
    for wrong in ("x.mp4", ".rrd", "", "server"):
        with pytest.raises(argparse.ArgumentTypeError, match="a file that ends in .rrd, or serve"):
            rerun_target(wrong)
    with pytest.raises(OSError, match="none"):
        RerunLog(str(tmp_path / "none" / "x.rrd"), "test")


def listening() -> set[str]:
    """Addresses, as the kernel writes them, at which somebody listens to Rerun's ports."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and int(row[1].partition(":")[2], 16) in (WEB_PORT, GRPC_PORT)}


def test_it_is_served_to_this_machine_alone_and_ends_with_the_run():
    if listening():
        pytest.skip("Rerun's ports are in use")
    with RerunLog("serve", "test") as log:
        assert listening() == {"0100007F"}              # 127.0.0.1
        with urllib.request.urlopen(log.served, timeout=60) as answer:
            assert answer.status == 200
        log.frame(0, 0.0)
        log.status("here")
        with pytest.raises(RuntimeError, match=f"port {WEB_PORT} is in use"):
            RerunLog("serve", "second")
    deadline = time.monotonic() + 60
    while listening():
        assert time.monotonic() < deadline


def test_half_a_server_is_not_started():
    if listening():
        pytest.skip("Rerun's ports are in use")
    with socket.create_server(("127.0.0.1", GRPC_PORT)), pytest.raises(RuntimeError, match=f"port {GRPC_PORT} is in use"):
        RerunLog("serve", "test")
    assert not listening()
