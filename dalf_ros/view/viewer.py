"""From the nodes' topics to the page, and from its buttons to their services."""
from __future__ import annotations

import threading
from typing import Any

from dalf_core.viewing.frame_rate import FrameRate
from dalf_core.viewing.page_server import PageServer

from ..conversions import topics
from ..conversions.message_factory import bag_typestore, ros_class
from ..conversions.messages import STATUS_NAMES, mesh_of
from ..nodes.inputs import LATCHED_QOS, RESULT_QOS

NODE = "feature_node"
IMAGE = topics.DEBUG_COMPRESSED.replace("~", NODE)
SILENCE_S = 5.0
ANSWER_S = 10.0


class Viewer:
    """Callbacks and look() on the executor's thread, call() on any other. page: where it shows; None: nowhere yet."""

    def __init__(self, node: Any) -> None:
        from std_srvs.srv import Trigger

        self._node = node
        self.page: PageServer | None = None
        self._images, self._statuses = FrameRate(), FrameRate()
        self._topology: tuple[int, int] | None = None      # its id, its number of vertices
        self._wanted: dict[str, Any] = {}       # subscriptions while somebody looks
        self._complaint = ""
        self._clients = {name: node.create_client(Trigger, f"{NODE}/{name}") for name in ("set_reference", "reset")}
        self._subscribe(topics.REFERENCE, topics.TYPES[topics.REFERENCE], self._on_reference)
        self._subscribe(topics.STATUS, topics.TYPES[topics.STATUS], self._on_status)

    def _subscribe(self, name: str, kind: str, callback: Any) -> Any:
        def arrived(data: bytes) -> None:
            if self.page is not None:
                callback(self.page, bag_typestore().deserialize_cdr(data, kind))

        qos = LATCHED_QOS if name in topics.LATCHED else RESULT_QOS
        return self._node.create_subscription(ros_class(kind), name, arrived, qos, raw=True)

    # ---------------------------------------------------------------- what comes

    def _on_image(self, page: PageServer, message: Any) -> None:
        self._images.tick()
        page.show_image(message.data.tobytes())

    def _on_reference(self, page: PageServer, message: Any) -> None:
        mesh = mesh_of(message)
        colors = mesh["colors"] if mesh["colors"] is not None else _plain(len(mesh["vertices"]))
        self._topology = message.topology_id, len(mesh["vertices"])
        page.show_topology(mesh["triangles"], colors)
        page.show_surface(mesh["vertices"], _visible(mesh))
        page.show_note(f"the reference has {len(mesh['vertices'])} vertices")

    def _on_mesh(self, page: PageServer, message: Any) -> None:
        mesh = mesh_of(message)
        if self._topology == (message.topology_id, len(mesh["vertices"])):
            page.show_surface(mesh["vertices"], _visible(mesh))

    def _on_status(self, page: PageServer, message: Any) -> None:
        self._statuses.tick()
        state = STATUS_NAMES[message.status]
        parts = [state]
        if self._statuses.hz:
            parts.append(f"{self._statuses.hz:.0f} Hz")
        if state != "waiting":
            parts += [f"{1e3 * message.residual_m:.1f} mm", f"{message.inliers} of {message.matches} matches",
                      f"{message.visible_fraction:.0%} of the surface seen"]
        page.show_status(state, ", ".join(parts) + (f": {message.reason}" if message.reason else ""))

    # ---------------------------------------------------------------- now and then

    def look(self) -> None:
        """Ask for what somebody looks at, and tell what does not come."""
        if self.page is None:
            return
        self._ask(bool(self.page.viewers))
        complaint = self._missing() if self.page.viewers else ""
        kind = complaint.partition(" for ")[0]          # without the seconds, which grow
        if kind and kind != self._complaint:
            print(complaint, flush=True)
        if complaint:
            self.page.show_status("lost" if self._statuses.hz else "waiting", complaint)
        elif self._complaint:
            self.page.show_status("waiting", "images come, waiting for the surface")
        self._complaint = kind

    def _ask(self, wanted: bool) -> None:
        """Subscribe to what nodes make only while it is asked for, or leave it."""
        if wanted and not self._wanted:
            self._images = FrameRate()
            self._wanted = {IMAGE: self._subscribe(IMAGE, topics.TYPES[topics.DEBUG_COMPRESSED], self._on_image),
                            topics.MESH: self._subscribe(topics.MESH, topics.TYPES[topics.MESH], self._on_mesh)}
        elif not wanted:
            for subscription in self._wanted.values():
                self._node.destroy_subscription(subscription)
            self._wanted = {}

    def _missing(self) -> str:
        """Why nothing is to be seen; empty: there is."""
        resolve, count = self._node.resolve_topic_name, self._node.count_publishers
        image, status = resolve(IMAGE), resolve(topics.STATUS)
        if not count(image):
            return f"no {NODE}: nobody publishes {image}. Start the nodes, or give their namespace: --ros-args -r __ns:=/NAME"
        if self._images.silent_s > SILENCE_S:
            return f"no image for {self._images.silent_s:.0f} s: {NODE} runs, but publishes none; its own warnings say why"
        if not count(status):
            return f"no registration_node: nobody publishes {status}; without it there are matches, but no surface"
        if self._statuses.silent_s > SILENCE_S:
            return f"no status for {self._statuses.silent_s:.0f} s: registration_node runs, but publishes none; its own warnings say why"
        return ""

    # ---------------------------------------------------------------- buttons

    def call(self, service: str) -> str:
        """Call a service of the feature node; what came of it, in words."""
        from std_srvs.srv import Trigger

        client = self._clients[service]
        if not client.service_is_ready():
            return f"{client.srv_name} is not there: is {NODE} running?"
        answered = threading.Event()
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER_S):
            return f"{client.srv_name} has not answered in {ANSWER_S:g} s"
        answer = future.result()
        return f"{service}: {answer.message or 'done'}" if answer.success else f"{service} failed: {answer.message}"


def _visible(mesh: dict[str, Any]) -> Any:
    """Which vertices are seen: all, where the message does not say."""
    import numpy as np

    return np.ones(len(mesh["vertices"]), bool) if mesh["visible"] is None else mesh["visible"]


def _plain(count: int) -> Any:
    """Colours of a surface that has none."""
    import numpy as np

    from ..conversions.visual_messages import PLAIN_RGB

    return np.tile(np.uint8(PLAIN_RGB), (count, 1))
