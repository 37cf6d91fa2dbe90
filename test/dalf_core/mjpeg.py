"""A camera on the network, of the cheap kind: pictures as MJPEG over HTTP."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


@contextmanager
def mjpeg_server(pictures: Sequence[np.ndarray], hz: float, repeat: bool = True, pause_s: float = 0.0) -> Iterator[str]:
    """The address at which BGR pictures are sent in turn, so many a second, again and again. pause_s: silence before the end."""
    parts = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for picture in pictures]
    over = threading.Event()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/stream":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            try:
                while not over.is_set():
                    for part in parts:
                        self.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(part), part))
                        time.sleep(1 / hz)
                    if not repeat:
                        over.wait(pause_s)
                        return
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_address[1]}/stream"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
