"""What a page is sent, byte for byte, and who may connect."""
from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from dalf_core.viewing.page_server import PageServer  # noqa: E402


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def stream(page: PageServer) -> str:
    return page.url.replace("http", "ws") + "/stream"


@pytest.fixture
def page():
    with PageServer("title", {"go": lambda: "went"}, "localhost", free_port()) as server:
        yield server


def test_what_is_sent(page):
    with connect(stream(page)) as client:
        assert json.loads(client.recv(60)) == {"title": "title", "buttons": ["go"]}
        page.show_topology([[0, 2, 1]], [[255, 0, 7]] * 3)
        data = client.recv(60)
        assert data[:4] == b"T\0\0\0" and np.frombuffer(data, "<u4", 5, 4).tolist() == [3, 1, 0, 2, 1]
        assert data[24:] == bytes([255, 0, 7] * 3)
        page.show_surface(np.arange(9).reshape(3, 3), [True, False, True])
        data = client.recv(60)
        assert data[:8] == b"S\0\0\0\3\0\0\0" and np.frombuffer(data, "<f4", 9, 8).tolist() == list(range(9)) and data[44:] == b"\1\0\1"
        page.show_image(b"jpeg")
        assert client.recv(60) == b"I\0\0\0jpeg"
        page.show_status("tracked", "all well")
        assert json.loads(client.recv(60)) == {"state": "tracked", "text": "all well"}
        client.send("go")
        assert json.loads(client.recv(60)) == {"note": "went"}
        client.send("something else")
        page.show_note("after")
        assert json.loads(client.recv(60)) == {"note": "after"}


def test_who_comes_late_gets_what_holds_now(page):
    page.show_topology([[0, 1, 2]], np.zeros((3, 3)))
    page.show_surface(np.zeros((3, 3)), np.ones(3))
    page.show_topology([[0, 1, 2]], np.ones((3, 3)))       # the surface before belongs to another mesh
    for number in range(50):
        page.show_status("tracked", str(number))
    page.show_image(b"last")
    deadline = time.monotonic() + 60
    while "image" not in page._latest:
        assert time.monotonic() < deadline
    with connect(stream(page)) as client:
        got = [client.recv(60) for _ in range(4)]
        with pytest.raises(TimeoutError):
            client.recv(0.2)
    assert got[1][-9:] == b"\1" * 9 and got[2] == b"I\0\0\0last" and json.loads(got[3])["text"] == "49"
    deadline = time.monotonic() + 60
    while page.viewers:
        assert time.monotonic() < deadline


def test_who_is_slow_gets_the_newest(page):
    """A client that does not read misses pictures, and the server keeps none of them."""
    with connect(stream(page), max_queue=1) as client:
        for number in range(200):
            page.show_image(number.to_bytes(2, "big") * 50_000)     # 20 MB in all: far more than sockets hold
            time.sleep(0.002)
        numbers = []
        while not numbers or numbers[-1] != 199:
            data = client.recv(60)
            if isinstance(data, bytes):
                numbers.append(int.from_bytes(data[4:6], "big"))
    assert numbers == sorted(set(numbers)) and len(numbers) < 150


def test_files_of_the_page(page):
    with urllib.request.urlopen(page.url) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8" and b"view.js" in answer.read()
    for name in ("view.js", "mesh_view.js"):
        with urllib.request.urlopen(f"{page.url}/{name}") as answer:
            assert "javascript" in answer.headers["Content-Type"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{page.url}/../page_server.py")


def test_pages_of_other_sites_are_refused(page):
    with pytest.raises(InvalidStatus, match="403"):
        connect(stream(page), origin="http://elsewhere.example")
    with connect(stream(page), origin=page.url) as client:
        client.recv(60)


@pytest.mark.parametrize("host, status", [("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200), (socket.gethostname(), 200),
                                          ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403)])
def test_names_that_are_not_this_machines_are_refused(page, host, status):
    """Another site can have its name resolved to this machine (DNS rebinding): its page is then of the same origin."""
    port = int(page.url.rpartition(":")[2])
    for path in ("/", "/stream"):
        connection = http.client.HTTPConnection("localhost", port, timeout=60)
        connection.request("GET", path, headers={"Host": f"{host}:{port}" if host else ""})
        answer = connection.getresponse().status
        connection.close()
        assert answer == (426 if (path, status) == ("/stream", 200) else status)      # 426: a WebSocket is expected there


def test_clicks_that_take_long_or_fail_are_told():
    over, done = threading.Event(), []

    def slow() -> str:
        done.append(over.wait(120))
        return "at last"

    def wrong() -> str:
        raise ValueError("no camera")

    with PageServer("title", {"slow": slow, "wrong": wrong}, port=free_port()) as server, connect(stream(server)) as client:
        client.recv(60)
        client.send("slow")
        client.send("slow")
        assert "slow: not done" in client.recv(60)
        over.set()
        assert "at last" in client.recv(60) and done == [True]
        client.send("wrong")
        assert json.loads(client.recv(60)) == {"note": "wrong failed: no camera"}


def test_who_has_read_of_a_click_may_click_again(monkeypatch):
    class LeavesLate(threading.Thread):
        """A busy machine: the thread has said its word, and is still there."""

        def run(self) -> None:
            super().run()
            time.sleep(0.3)

    monkeypatch.setattr(threading, "Thread", LeavesLate)
    with PageServer("title", {"go": lambda: "went"}, port=free_port()) as server, connect(stream(server)) as client:
        client.recv(60)
        for _ in range(2):
            client.send("go")
            assert json.loads(client.recv(60)) == {"note": "went"}


def test_the_end_leaves_nothing_behind():
    """Neither a thread nor an open page; and what still wants to show something is not disturbed."""
    server = PageServer("title", {}, port=free_port())
    with server:
        client = connect(stream(server))
        client.recv(60)
    assert not any(thread.name == "page" for thread in threading.enumerate())
    with pytest.raises(ConnectionClosed):
        client.recv(60)
    server.show_status("lost", "too late")
    with PageServer("again", {}, port=int(server.url.rpartition(":")[2])):
        pass


def test_a_port_in_use_is_told(page):
    port = int(page.url.rpartition(":")[2])
    with pytest.raises(OSError, match=rf"port {port} is in use.*--port names another"), PageServer("second", {}, "localhost", port):
        pass
    with pytest.raises(OSError, match="--host 203.0.113.7 --port 8200 cannot be served"), PageServer("", {}, "203.0.113.7"):
        pass
