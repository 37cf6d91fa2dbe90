"""feature_node: images in, DALF features and matches to a reference image out. See docs/feature_node.md."""
from __future__ import annotations

import sys
import time
from typing import Any

from . import topics
from .image_conversion import to_color, to_mask
from .inputs import IMAGE_QOS
from .lifecycle_main import run_nodes
from .messages import NANOSECONDS, stamp_ns
from .node_statistics import OK, WARN
from .results import feature_results, frame_id_of
from .time_buffer import Joiner, StampGuard
from .worker_node import WorkerNode

MASK_BUFFER_S = 5.0


class FeatureNode(WorkerNode):
    """Wires `image` (and `mask`) to a FeatureTracker, and its results to `features`, `matches` and `~/debug_image`."""

    def __init__(self) -> None:
        super().__init__("feature_node", topics.FEATURE_TOPICS)
        self._tracker: Any = None
        self._guard = StampGuard()
        self._matched = (0, 0)
        required = ["mask"] if self.values["use_mask"] else []
        self._joiner = Joiner("image", required, [], tolerance_ns=int(self.values["stamp_tolerance"] * NANOSECONDS),
                              length_ns=int(MASK_BUFFER_S * NANOSECONDS))

    def load(self) -> None:
        from dalf_core import DALF
        from dalf_core.tracking import FeatureTracker

        dalf = DALF(self.values["weights"] or None, device=self.values["device"], top_k=self.values["top_k"])
        self._tracker = FeatureTracker(dalf, image_scale=self.values["image_scale"])
        self.get_logger().info(f"DALF on {dalf.device} ({dalf.backend}), weights {dalf.weights}")
        started = time.perf_counter()
        self._tracker.warm_up()
        self.get_logger().info(f"warmed up in {time.perf_counter() - started:.1f} s")

    def unload(self) -> None:
        self._tracker = None

    def listen(self) -> None:
        transport = self.values["image_transport"]
        self.inputs.add_image("image", "image", lambda message: self._arrived("image", message), transport)
        if self.values["use_mask"]:
            self.inputs.add("mask", "mask", "sensor_msgs/msg/Image", lambda message: self._arrived("mask", message), IMAGE_QOS)

    def _arrived(self, role: str, message: Any) -> None:
        group = self._joiner.put(role, stamp_ns(message.header), message)
        if group is not None:
            self.enqueue(group)

    def process(self, item: dict[str, Any]) -> None:
        started = time.perf_counter()
        stamp = stamp_ns(item["image"].header)
        order = self._guard.check(stamp)
        if order in ("repeated", "late"):
            self.refuse(f"image with a {order} stamp is skipped")
            return
        if order == "restarted":
            self.get_logger().info("stamps jumped back: tracking starts anew")
            self._tracker.reset()
        image = to_color(item["image"])
        mask = to_mask(item["mask"]) if "mask" in item else None
        frame = self._tracker.process(image, stamp, mask)
        assert self.outputs is not None
        self.outputs.publish(feature_results(frame, image, stamp, frame_id_of(item["image"]), self.outputs.wanted(),
                                             self.values["descriptor_type"]))
        if frame.matches is None:
            self.refuse(f"only {len(frame.features)} keypoints: too few to make this image the reference")
            self._matched = (0, 0)
        else:
            self._matched = (len(frame.matches.matches), int(frame.matches.matches.inlier.sum()))
        self.done(stamp, started)

    def forget(self) -> None:
        if self._tracker is not None:
            self._tracker.reset()
        self._guard = StampGuard()

    def health(self) -> tuple[int, str, dict[str, str]]:
        matches, inliers = self._matched
        level, text = (OK, "matching") if inliers else (WARN, "no verified matches")
        return level, text, {"matches": str(matches), "inliers": str(inliers)}

    def silence(self) -> str:
        return self._joiner.waiting() if self.values["use_mask"] else ""


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_nodes([FeatureNode], args)


if __name__ == "__main__":
    sys.exit(main())
