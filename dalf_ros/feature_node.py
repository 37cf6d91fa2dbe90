"""feature_node: images in, DALF features and matches to a reference image out. See docs/feature_node.md."""
from __future__ import annotations

if __name__ == "__main__":      # before the imports that take their time
    from dalf_ros.nodes.quiet_start import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import sys
import time
from typing import Any

import numpy as np

from .conversions import topics
from .conversions.image_size import SizeGuard
from .conversions.messages import stamp_ns
from .conversions.results import feature_results, frame_id_of
from .images.image_conversion import to_color, to_mask
from .nodes.inputs import IMAGE_QOS
from .nodes.lifecycle_main import run_nodes
from .nodes.node_statistics import OK, WARN
from .nodes.worker_node import WorkerNode

LEAST_REGION = 32           # pixels a side, what the network takes


class FeatureNode(WorkerNode):
    """Wires `image` (and `mask`) to a FeatureTracker, and its results to topics.FEATURE_TOPICS."""

    def __init__(self) -> None:
        super().__init__("feature_node", topics.FEATURE_TOPICS, primary="image")
        self._tracker: Any = None
        self._matched = (0, 0)
        self._sizes = SizeGuard()

    def load(self) -> None:
        from dalf_core import DALF
        from dalf_core.tracking import FeatureTracker

        dalf = DALF(self.values["weights"] or None, device=self.values["device"], top_k=self.values["top_k"])
        self._tracker = FeatureTracker(dalf, image_scale=self.values["image_scale"], max_keyframes=self.values["max_keyframes"])
        self.get_logger().info(f"DALF on {dalf.device} ({dalf.backend}), weights {dalf.weights}")
        started = time.perf_counter()
        self._tracker.warm_up()
        self.get_logger().info(f"warmed up in {time.perf_counter() - started:.1f} s")

    def unload(self) -> None:
        self._tracker = None

    def listen(self) -> None:
        transport = self.values["image_transport"]
        self.inputs.add_image("image", "image", lambda message: self.arrived("image", message), transport)
        if self.values["use_mask"]:
            self.inputs.add("mask", "mask", "sensor_msgs/msg/Image", lambda message: self.arrived("mask", message), IMAGE_QOS)

    def process(self, item: dict[str, Any]) -> None:
        started = time.perf_counter()
        stamp = stamp_ns(item["image"].header)
        if not self.is_in_order(stamp):
            return
        image = to_color(item["image"])
        self._check_size(image)
        mask = to_mask(item["mask"]) if "mask" in item else None
        self._apply_parameters()
        assert self.outputs is not None
        wanted, match_to = self.outputs.wanted(), self.values["match_to"]
        frame = self._tracker.process(image, stamp, mask, to_reference=match_to != "previous",
                                      to_previous=match_to != "reference" and topics.MATCHES_PREVIOUS in wanted)
        self.outputs.publish(feature_results(frame, image, stamp, frame_id_of(item["image"]), wanted, self.values["descriptor_type"],
                                             self._tracker.region))
        if frame.matches is None and match_to != "previous":
            self.refuse(f"only {len(frame.features)} keypoints: too few to make this image the reference")
        pairs = frame.matches or frame.previous
        self._matched = (0, 0) if pairs is None else (len(pairs.matches), int(pairs.matches.inlier.sum()))
        self.done(stamp, started)

    def _check_size(self, image: np.ndarray) -> None:
        """Two images of another resolution are another camera's, or another mode of it: a new reference. Raises ValueError on the first."""
        if change := self._sizes.check(image.shape[1], image.shape[0]):
            self.get_logger().info(change)
            self._tracker.reset()

    def _apply_parameters(self) -> None:
        """What may change at run time changes between images."""
        x, y, width, height = self.values["region"]
        self._tracker.region = (x, y, width, height) if width and height else None
        self._tracker.min_score, self._tracker.dalf.top_k = self.values["threshold"], self.values["top_k"]

    def forget(self) -> None:
        if self._tracker is not None:
            self._tracker.reset()

    def problem_with(self, changes: dict[str, Any]) -> str | None:
        x, y, width, height = changes.get("region", (0, 0, 0, 0))
        if not (width and height):
            return None
        if min(width, height) < LEAST_REGION:
            return f"region must be at least {LEAST_REGION}x{LEAST_REGION} pixels, not {width}x{height}"
        size = self._sizes.size
        if size is not None and (x + width > size[0] or y + height > size[1]):
            return f"region {x}, {y}, {width}, {height} reaches beyond the image, which is {size[0]}x{size[1]}"
        return None

    def health(self) -> tuple[int, str, dict[str, str]]:
        matches, inliers = self._matched
        level, text = (OK, "matching") if inliers else (WARN, "no verified matches")
        return level, text, {"matches": str(matches), "inliers": str(inliers)}


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_nodes([FeatureNode], args)


if __name__ == "__main__":
    sys.exit(main())
