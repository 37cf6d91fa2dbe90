"""feature_node: images in, DALF features and matches to a reference image out. See docs/feature_node.md."""
from __future__ import annotations

if __name__ == "__main__":      # before the imports that take their time
    from dalf_ros.nodes.quiet_start import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dalf_core.matching import verification
from dalf_core.tracking import MatchCarrier
from dalf_core.tracking.background_tracker import BackgroundTracker, ImageResult, background_executor

from .conversions import topics
from .conversions.image_size import SizeGuard
from .conversions.messages import prediction_of, stamp_ns
from .conversions.results import feature_results, frame_id_of
from .images.image_conversion import to_color, to_mask
from .nodes.inputs import RESULT_QOS
from .nodes.lifecycle_main import run_nodes
from .nodes.node_statistics import OK, WARN
from .nodes.worker_node import WorkerNode
from .objects.object_files import object_files
from .services.reference_choice import OWN_TEMPLATES, ReferenceChoice

if TYPE_CHECKING:
    from .objects.feature_lanes import FeatureLanes

LEAST_REGION = 32           # pixels a side, what the network takes


class FeatureNode(WorkerNode):
    """Wires `image` (and `mask`) to a FeatureTracker, and its results to topics.FEATURE_TOPICS."""

    def __init__(self) -> None:
        super().__init__("feature_node", topics.FEATURE_TOPICS, primary="image")
        self._tracker: Any = None
        self._background: Any = None        # drives the tracker, where matches are carried
        self._executor: Any = None          # its thread
        self._matched = (0, 0)
        self._frame_id = ""                 # of the last image
        self._sizes = SizeGuard()
        self._lanes: FeatureLanes | None = None      # where several objects are followed
        self._reference = ReferenceChoice(self)

    def load(self) -> None:
        self._executor = background_executor()
        loading = self._executor.submit(self._load_tracker)
        verification.warm_up()      # meanwhile
        MatchCarrier.warm_up()
        self._tracker = loading.result()
        self._reference.check()
        self._reference.serve(self._tracker, self._executor)
        if self.values["objects"]:
            self._lanes = self._object_lanes()
        elif self.values["carry"]:
            self._background = BackgroundTracker(self._tracker, self._executor, on_found=lambda: self.do(self._publish_found))
        self._reference.configure(self._background)

    def _load_tracker(self) -> Any:
        """On the thread that DALF will work on, so that those it starts have the same priority."""
        from dalf_core import DALF
        from dalf_core.tracking import FeatureTracker

        dalf = DALF(self.values["weights"] or None, device=self.values["device"], top_k=self.values["top_k"],
                    precision=self.values["precision"])
        tracker = FeatureTracker(dalf, image_scale=self.values["image_scale"], max_keyframes=self.values["max_keyframes"],
                                 second_look=self.values["second_look"])
        self.get_logger().info(f"DALF on {dalf.device} ({dalf.backend}, {dalf.precision}), weights {dalf.weights}")
        started = time.perf_counter()
        tracker.warm_up()
        self.get_logger().info(f"warmed up in {time.perf_counter() - started:.1f} s")
        return tracker

    def _object_lanes(self) -> FeatureLanes:
        from .objects.feature_lanes import FeatureLanes  # which needs PyTorch

        templates = {name: self._reference.from_file(path) for name, path in object_files(self.values["objects"]).items()}
        self.get_logger().info(f"following {len(templates)} object{'s' if len(templates) > 1 else ''}: " + ", ".join(
            f"{name} ({0 if template.features is None else len(template.features)} keypoints)" for name, template in templates.items()))
        return FeatureLanes(self, self._tracker.dalf, templates, self._executor, image_scale=self.values["image_scale"],
                            max_keyframes=self.values["max_keyframes"], second_look=self.values["second_look"])

    def unload(self) -> None:
        if self._lanes is not None:
            self._lanes.close()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._reference.unload()
        self._tracker = self._background = self._executor = self._lanes = None

    def listen(self) -> None:
        self._reference.announce()
        transport = self.values["image_transport"]
        self.inputs.add_image("image", "image", lambda message: self.arrived("image", message), transport)
        if self.values["use_mask"]:
            self.inputs.add_image("mask", "mask", lambda message: self.arrived("mask", message))
        if self._lanes is not None:
            self._lanes.listen()
            return
        self._reference.listen()
        if self._background is not None:
            self.inputs.add("prediction", topics.PREDICTION, topics.TYPES[topics.PREDICTION], self._predicted, RESULT_QOS, optional=True)

    def _predicted(self, message: Any) -> None:
        """Where the surface has the keypoints; without a registration_node nothing comes, and the matches themselves have to tell."""
        try:
            prediction = prediction_of(message)
            self._background.predict(prediction)
            self._reference.predict(prediction)
        except ValueError as error:
            self.refuse(str(error))

    def process(self, item: dict[str, Any]) -> None:
        started = time.perf_counter()
        stamp = stamp_ns(item["image"].header)
        if not self.is_in_order(stamp):
            return
        image = to_color(item["image"])
        self._check_size(image)
        mask = to_mask(item["mask"]) if "mask" in item else None
        if mask is None:
            mask = self._reference.mask(stamp, (image.shape[1], image.shape[0]))
        self._apply_parameters()
        if self._lanes is not None:
            if self._lanes.process(image, stamp, mask, frame_id_of(item["image"])):
                self.done(stamp, started)
            return
        if self._reference.is_awaited(image):
            self.done(stamp, started)
            return
        wanted = self.outputs.wanted() if self.outputs is not None else set()
        to_previous = self.values["match_to"] != "reference" and topics.MATCHES_PREVIOUS in wanted
        if self._background is None or self.values["match_to"] == "previous":
            look = self._executor.submit(self._tracker.process, image, stamp, mask, to_previous=to_previous,
                                         to_reference=self.values["match_to"] != "previous")
            results = [ImageResult(image, stamp, look.result())]
        else:
            results = self._background.process(image, stamp, mask, to_previous=to_previous)
        self._frame_id = frame_id_of(item["image"])
        for result in results:
            self._publish(result, wanted)
        if results:
            self.done(stamp, started)

    def _publish_found(self) -> None:
        """What DALF has found in the background, though no further image has come."""
        if self._background is None or self.outputs is None:
            return
        started = time.perf_counter()
        for result in self._background.collect():
            self._publish(result, self.outputs.wanted())
            self.done(result.stamp_ns, started)

    def _publish(self, result: ImageResult, wanted: set[str]) -> None:
        frame = result.frame
        if frame is None:
            self.refuse(result.problem)
            return
        assert self.outputs is not None
        self.outputs.publish(feature_results(frame, result.image, result.stamp_ns, self._frame_id, wanted, self.values["descriptor_type"],
                                             self._tracker.region))
        if frame.features is not None and self._tracker.reference is None and self.values["match_to"] != "previous":
            self.refuse(f"only {len(frame.features)} keypoints: too few to make this image the reference")
        pairs = frame.matches or frame.previous
        if frame.features is not None and frame.matches is not None and result.stamp_ns == frame.matches.reference_stamp_ns:
            self.get_logger().info(f"reference image: {len(frame.features)} keypoints")
        if pairs is not None or self._background is None:
            self._matched = (0, 0) if pairs is None else (len(pairs.matches), int(pairs.matches.inlier.sum()))

    def _check_size(self, image: np.ndarray) -> None:
        """Two images of another resolution are another camera's, or another mode of it: a new reference. Raises ValueError on the first."""
        if change := self._sizes.check(image.shape[1], image.shape[0]):
            self.get_logger().info(change)
            self.forget()

    def drop_template(self) -> None:
        if self._lanes is not None:
            self.get_logger().warning(OWN_TEMPLATES)
        self._reference.drop()

    def _apply_parameters(self) -> None:
        """What may change at run time changes between images."""
        x, y, width, height = self.values["region"]
        for tracker in [self._tracker] if self._lanes is None else self._lanes.trackers:
            tracker.region = (x, y, width, height) if width and height else None
            tracker.min_score, tracker.dalf.top_k = self.values["threshold"], self.values["top_k"]

    def forget(self) -> None:
        if self._lanes is not None:
            self._lanes.reset()
        elif self._background is not None:
            self._background.reset()
        elif self._tracker is not None:
            self._executor.submit(self._tracker.reset)      # when DALF is done with the image that it looks at

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
        if self._lanes is not None:
            unseen = [name for name, verified in self._lanes.verified.items() if not verified]
            return ((WARN, f"no verified matches of {', '.join(unseen)}") if unseen else (OK, "matching")) + (
                {f"inliers of {name}": str(verified) for name, verified in self._lanes.verified.items()},)
        matches, inliers = self._matched
        level, text = self._reference.concern() or ((OK, "matching") if inliers else (WARN, "no verified matches"))
        name = {"template": self._reference.name} if self._reference.name else {}
        return level, text, {"matches": str(matches), "inliers": str(inliers), **name}


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_nodes(lambda: [FeatureNode()], args)


if __name__ == "__main__":
    sys.exit(main())
