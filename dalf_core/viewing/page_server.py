"""A page in the browser that shows a picture, a mesh and a line of text as they change, and has buttons.

The page is plain WebGL and connects to nothing but this server. Whoever is too slow for all that comes gets the newest.
"""
from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

HOST, PORT = "localhost", 8200
FILES = {"/": ("index.html", "text/html"), "/view.js": ("view.js", "text/javascript"), "/mesh_view.js": ("mesh_view.js", "text/javascript")}
STREAM = "/stream"
ORDER = ("title", "topology", "surface", "image", "status", "note")     # in which what is new goes out
MISSING = "the page in the browser needs the Python package websockets: pip install 'dalf[view]', or ./run, which installs it"


class PageServer:
    """Serves the page while the `with` block lasts. All methods may be called from any thread and return at once.

    buttons: caption to what a click does; it runs on a thread of its own, one at a time, and returns the text that the page shows.
    RuntimeError: websockets is not installed. OSError: the address cannot be used; the message says why.
    """

    def __init__(self, title: str, buttons: Mapping[str, Callable[[], str]], host: str = HOST, port: int = PORT) -> None:
        try:
            import websockets.asyncio.server  # noqa: F401
        except ModuleNotFoundError as error:
            raise RuntimeError(MISSING) from error
        # what it tells of connections that a browser breaks off is of no use to anybody
        logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
        self._buttons, self._host, self._port = dict(buttons), host, port
        self._latest: dict[str, bytes | str] = {"title": json.dumps({"title": title, "buttons": list(buttons)})}
        self._clients: set[_Client] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._ready = threading.Event()
        self._error: OSError | None = None
        self._clicked = False       # a click is being done

    def __enter__(self) -> PageServer:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise OSError(_why_not(self._error, self._host, self._port)) from self._error
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """What to type into the browser."""
        host = "localhost" if self._host in ("", "0.0.0.0", "::") else f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def viewers(self) -> int:
        """How many pages are connected: without one nothing need be made."""
        return len(self._clients)

    def show_image(self, jpeg: bytes) -> None:
        """A picture, JPEG."""
        self._send("image", b"I\0\0\0" + jpeg)

    def show_topology(self, triangles: Any, colors: Any) -> None:
        """The mesh that show_surface() moves. triangles: (F, 3) vertex indices, counter-clockwise seen from the front; colors: (V, 3) uint8
        RGB."""
        head = np.array([len(colors), len(triangles)], "<u4").tobytes()
        self._send("surface", None)
        self._send("topology", b"T\0\0\0" + head + _bytes(triangles, "<u4") + _bytes(colors, "u1"))

    def show_surface(self, vertices: Any, visible: Any) -> None:
        """Where the mesh is: vertices (V, 3), x right, y down, z away from the viewer, any unit; visible (V,) bool: the others are pink."""
        head = np.array([len(vertices)], "<u4").tobytes()
        self._send("surface", b"S\0\0\0" + head + _bytes(vertices, "<f4") + _bytes(visible, "u1"))

    def show_status(self, state: str, text: str) -> None:
        """The status line. state, which gives its colour: "tracked", "degraded", "lost" or "waiting"."""
        self._send("status", json.dumps({"state": state, "text": text}))

    def show_note(self, text: str) -> None:
        """The line below: what is wrong, or what a button did; empty: nothing."""
        self._send("note", json.dumps({"note": text}))

    # ---------------------------------------------------------------- on the server's thread

    def _send(self, kind: str, data: bytes | str | None) -> None:
        with suppress(RuntimeError):        # the server has ended
            self._loop.call_soon_threadsafe(self._take, kind, data)

    def _take(self, kind: str, data: bytes | str | None) -> None:
        if data is None:
            self._latest.pop(kind, None)
        else:
            self._latest[kind] = data
        for client in self._clients:
            client.take(kind, data)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._error = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        from websockets.asyncio.server import serve

        async with serve(self._connected, self._host, self._port, process_request=self._answer, compression=None, max_size=1024):
            self._ready.set()
            await self._stop.wait()

    async def _connected(self, socket: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        client = _Client(socket, self._latest)
        self._clients.add(client)
        sender = asyncio.ensure_future(client.send())
        try:
            async for word in socket:
                if word in self._buttons:
                    self._press(word)
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)
            sender.cancel()

    def _press(self, caption: str) -> None:
        """Do what a click asks for, unless one before it is still being done."""
        if self._clicked:
            self.show_note(f"{caption}: not done, the click before is still being done")
            return
        self._clicked = True
        threading.Thread(target=self._do, args=(caption,), name="click", daemon=True).start()

    def _do(self, caption: str) -> None:
        try:
            text = self._buttons[caption]()
        except Exception as error:      # of any kind: whoever clicked is to know
            text = f"{caption} failed: {error}"
        with suppress(RuntimeError):        # the server has ended
            self._loop.call_soon_threadsafe(self._done, text)

    def _done(self, text: str) -> None:
        """What a click came to. Who reads it may click again at once: on this thread, so nothing comes in between."""
        self._clicked = False
        self._take("note", json.dumps({"note": text}))

    def _may_call_it(self, host: str) -> bool:
        """Whether the name in a request is one of this server's. Another site's page can have its own name resolved to this machine."""
        name = (urlsplit(f"//{host}").hostname or "").lower()
        machine = socket.gethostname().lower()
        return name in ("localhost", self._host.lower(), machine, f"{machine}.local") or _is_address(name)

    def _answer(self, connection: Any, request: Any) -> Any:
        """The page's files; nothing for the stream, which goes on as a WebSocket, unless another site's page asks for it."""
        from websockets.datastructures import Headers
        from websockets.http11 import Response

        path = request.path.partition("?")[0]
        host = request.headers.get("Host", "")
        if not self._may_call_it(host):
            return connection.respond(HTTPStatus.FORBIDDEN, f"open {self.url} or the address in numbers\n")
        if path == STREAM:
            origin = request.headers.get("Origin")
            if origin is not None and origin.partition("://")[2] != host:
                return connection.respond(HTTPStatus.FORBIDDEN, "a page of another site may not connect\n")
            return None
        if path not in FILES:
            return connection.respond(HTTPStatus.NOT_FOUND, "there is no such page\n")
        name, kind = FILES[path]
        body = (Path(__file__).parent / "page" / name).read_bytes()
        headers = Headers({"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), "Cache-Control": "no-store",
                           "Connection": "close"})
        return Response(200, "OK", headers, body)


class _Client:
    """One page: what it has not been sent yet, the newest of each kind."""

    def __init__(self, socket: Any, latest: Mapping[str, bytes | str]) -> None:
        self._socket = socket
        self._waiting = dict(latest)
        self._some = asyncio.Event()
        self._some.set()

    def take(self, kind: str, data: bytes | str | None) -> None:
        if data is None:
            self._waiting.pop(kind, None)
        else:
            self._waiting[kind] = data
            self._some.set()

    async def send(self) -> None:
        """Send for ever; send() of the socket waits while the page is behind."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                await self._some.wait()
                self._some.clear()
                for kind in ORDER:
                    if kind in self._waiting:
                        await self._socket.send(self._waiting.pop(kind))
        except ConnectionClosed:
            pass


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bytes(values: Any, kind: str) -> bytes:
    return np.ascontiguousarray(values, kind).tobytes()


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use, perhaps by another view; --port names another one"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights; --port names another one, above 1023"
    return f"--host {host} --port {port} cannot be served: {error.strerror or error}"
