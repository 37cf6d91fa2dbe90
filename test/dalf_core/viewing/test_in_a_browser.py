"""The page in a real browser: what is drawn where, in which colours, and what clicks do.

Skipped where there is no browser to drive.
"""
from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

pytest.importorskip("websockets")

from dalf_core.viewing.page_server import PageServer  # noqa: E402

from .test_page_server import free_port  # noqa: E402

# a sheet of 2 x 1 m, 2 m away: of its four corners the upper left one is red, the upper right one green; (x right, y down, z away)
VERTICES = np.array([[-1, -0.5, 2], [1, -0.5, 2], [-1, 0.5, 2], [1, 0.5, 2]], float)
TRIANGLES, COLORS = [[0, 2, 1], [1, 2, 3]], [[255, 0, 0], [0, 255, 0], [90, 90, 90], [90, 90, 90]]


@pytest.fixture
def opened(browser):
    """A server and a page that shows it, looking along the camera's axis; errors on its console fail the test."""
    clicks: list[str] = []
    with PageServer("the title", {"reset": lambda: clicks.append("reset") or "done so"}, port=free_port()) as server:
        tab, errors = browser.new_page(viewport={"width": 1000, "height": 500}), []
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(server.url)
        tab.wait_for_function("document.title === 'the title'")
        tab.evaluate("dalf.mesh.look = {yaw: 0, pitch: 0, zoom: 1}")
        yield server, tab, clicks
        assert errors == []
        tab.close()


def drawn(tab, surfaces: int) -> np.ndarray:
    """The canvas, RGB, once so many surfaces have come and are drawn."""
    tab.wait_for_function(f"dalf.surfaces >= {surfaces} && !dalf.mesh.asked")
    box = tab.locator("#mesh").bounding_box()
    picture = tab.screenshot(clip=box)
    return cv2.imdecode(np.frombuffer(io.BytesIO(picture).read(), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def centre_of(picture: np.ndarray, channel: int) -> np.ndarray:
    """Where a pure colour is: x, y as shares of the picture."""
    others = np.delete(picture.astype(int), channel, axis=2).max(axis=2)
    y, x = np.nonzero((picture[:, :, channel] > 100) & (others < picture[:, :, channel] // 2))
    assert len(x) > 20
    return np.array([x.mean() / picture.shape[1], y.mean() / picture.shape[0]])


def test_up_is_up_and_left_is_left(opened):
    server, tab, _ = opened
    server.show_topology(TRIANGLES, COLORS)
    server.show_surface(VERTICES, np.ones(4, bool))
    picture = drawn(tab, 1)
    red, green = centre_of(picture, 0), centre_of(picture, 1)
    assert red[0] < 0.4 and green[0] > 0.6 and red[1] < 0.5 and green[1] < 0.5
    tab.mouse.move(700, 200)
    tab.mouse.down()
    tab.mouse.move(800, 200, steps=5)           # what is in front goes with the hand: the right edge moves away, the left one comes
    tab.mouse.up()
    tab.wait_for_timeout(300)
    shown = drawn(tab, 1)[:400].max(axis=2) > 40            # above the caption
    columns = np.nonzero(shown.any(axis=0))[0]
    left, right = (shown[:, column].sum() for column in (columns[3], columns[-4]))
    assert left > right + 10


def test_the_front_is_bright_and_what_is_not_seen_is_pink(opened):
    server, tab, _ = opened
    server.show_topology(TRIANGLES, np.full((4, 3), 200))
    server.show_surface(VERTICES, np.ones(4, bool))
    middle = drawn(tab, 1)[220, 250].astype(int)
    assert middle.min() > 170 and np.ptp(middle) < 6        # inside out it would be dimmed
    server.show_surface(VERTICES, np.zeros(4, bool))
    red, green, blue = drawn(tab, 2)[220, 250].astype(int)
    assert red > green + 50 and blue > green + 20
    server.show_topology([triangle[::-1] for triangle in TRIANGLES], np.full((4, 3), 200))
    server.show_surface(VERTICES, np.ones(4, bool))
    assert drawn(tab, 3)[220, 250].max() < 170


def test_the_mesh_moves(opened):
    server, tab, _ = opened
    server.show_topology(TRIANGLES, COLORS)
    server.show_surface(VERTICES, np.ones(4, bool))
    before = centre_of(drawn(tab, 1), 0)
    server.show_surface(VERTICES + [0.3, 0.2, 0], np.ones(4, bool))
    moved = centre_of(drawn(tab, 2), 0) - before
    assert moved[0] > 0.05 and moved[1] > 0.02


def test_picture_status_and_button(opened):
    server, tab, clicks = opened
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :, 0] = 255
    server.show_image(cv2.imencode(".jpg", image)[1].tobytes())
    server.show_status("lost", "lost, 3 Hz")
    tab.wait_for_function("dalf.images === 1 && document.getElementById('image').naturalWidth === 80")
    assert tab.inner_text("#status") == "lost, 3 Hz" and tab.get_attribute("#state", "class") == "lost"
    tab.click("text=reset")
    tab.wait_for_function("document.getElementById('note').textContent === 'done so'")
    assert clicks == ["reset"]


def test_a_server_that_ends_is_told(browser):
    server = PageServer("t", {}, port=free_port())
    with server:
        tab = browser.new_page()
        tab.goto(server.url)
        tab.wait_for_function("document.title === 't'")
    tab.wait_for_function("document.getElementById('status').textContent.startsWith('the program has ended')")
    tab.close()
