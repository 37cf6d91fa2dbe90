"""What feature_node matches to beside images: a template from a file, of a library, or what registration_node selected."""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dalf_core.matching.prediction import Prediction
from dalf_core.templates.template import Template
from dalf_core.templates.template_file import load_template
from dalf_core.tracking import FeatureTracker
from dalf_core.tracking.background_tracker import BackgroundTracker

from ..conversions import topics
from ..nodes.complaints import EVERY_S
from ..nodes.node_statistics import WARN
from ..templates.template_message import template_message
from .selected_object import SelectedObject

if TYPE_CHECKING:
    from dalf_core.templates.library import Recognition

    from ..templates.seeker import Seeker

OWN_TEMPLATES = "objects are followed: each keeps its template as its reference"


class ReferenceChoice:
    """Serves one node, which has the parameters template, library, objects, auto_select and match_to; has the service ~/load_template.

    All but the service and from_file() before the node is active belongs to the node's worker thread.
    """

    def __init__(self, node: Any) -> None:
        from dalf.srv import LoadTemplate

        self._node = node
        self._tracker: Any = None
        self._executor: Any = None
        self._background: BackgroundTracker | None = None
        self._template: tuple[Template, int] | None = None     # and its stamp
        self._seeker: Seeker | None = None  # of the library, if there is one
        self._seeks = False                 # until a template is recognised, or another reference asked for
        self._selected = SelectedObject(node, self._adopt_selection)
        self._service = node.create_service(LoadTemplate, "~/load_template", self._on_load_template)

    def check(self) -> None:
        """Raises ValueError where more than one parameter says what is to be followed."""
        self._selected.configure()
        saved = [name for name in ("template", "library", "objects") if self._node.values[name]]
        if len(saved) > 1:
            raise ValueError("template, library and objects exclude one another: a template is followed, of a library one is recognised "
                             "first, objects are several templates followed at once")
        if self._selected.waits and saved:
            raise ValueError(f"auto_select and {saved[0]} exclude one another: one reference is selected, the other was saved")

    def serve(self, tracker: FeatureTracker, executor: ThreadPoolExecutor) -> None:
        """From now on templates get the features of this tracker's extractor, on its thread."""
        self._tracker, self._executor = tracker, executor

    def configure(self, background: BackgroundTracker | None) -> None:
        """Read the parameters library and template. background: drives the tracker, where there is one. Raises ValueError, OSError."""
        values, log = self._node.values, self._node.get_logger()
        self._background = background
        if values["library"]:
            from ..templates.seeker import Seeker  # which needs PyTorch

            self._seeker = Seeker(Path(values["library"]).expanduser(), self._tracker.dalf, self._tracker.image_scale, self._executor)
            self._seeks = True
            log.info("\n".join([f"library of {len(self._seeker)} templates: the one that the camera shows will be followed",
                                *(f"left out: {problem}" for problem in self._seeker.news())]))
        if values["template"]:
            self._adopt(self.from_file(values["template"]))

    def unload(self) -> None:
        self._tracker = self._executor = self._background = self._template = self._seeker = None

    def listen(self) -> None:
        """Subscribe to what registration_node selects."""
        self._selected.listen()

    # ---------------------------------------------------------------- while images come

    def predict(self, prediction: Prediction) -> None:
        """Where the surface has the keypoints. From any thread."""
        self._selected.predict(prediction)

    def mask(self, stamp: int, size: tuple[int, int]) -> np.ndarray | None:
        """As SelectedObject.mask(), once the reference is held."""
        return self._selected.mask(stamp, size) if self._background is not None and self._background.is_held else None

    def is_awaited(self, image: np.ndarray) -> bool:
        """Whether nothing is matched yet: the image is shown to the library, or an object is to be selected first."""
        if self._seeks and self._seeker is not None:
            self._seeker.ask(image, lambda found, template: self._node.do(lambda: self._recognised(found, template)), self._node.refuse)
            return True
        return self._selected.waits and self._node.values["match_to"] != "previous"

    def _recognised(self, found: Recognition, template: Template | None) -> None:
        """What the library says of an image; the next ones are matched to what it shows."""
        if not self._seeks or self._seeker is None:     # another reference was asked for meanwhile
            return
        for problem in self._seeker.news():
            self._node.refuse(f"left out of the library: {problem}")
        best = found.candidates[0] if found.candidates else None
        if template is None:
            nearest = "" if best is None else f"; the nearest is {best.name}, {best.verified} verified matches"
            self._node.get_logger().info(f"none of the library's templates is seen{nearest}", throttle_duration_sec=EVERY_S)
            return
        self._seeks = False
        self._node.get_logger().info(f"recognised: template {template.name} (confidence {found.confidence:.2f})")
        self._adopt(template)

    def concern(self) -> tuple[int, str] | None:
        """Diagnostics, level and text, while nothing is matched yet."""
        if self._selected.waits:
            return WARN, "waiting for registration_node to select an object (auto_select)"
        if self._seeks and self._seeker is not None:
            return WARN, f"none of {len(self._seeker)} templates is seen"
        return None

    @property
    def name(self) -> str:
        """Of the template that is followed; empty where there is none."""
        return "" if self._template is None else self._template[0].name

    # ---------------------------------------------------------------- templates

    def from_file(self, path: str | Path) -> Template:
        """A template with features of this extractor. Raises TemplateError, OSError."""
        template = load_template(path)
        ready = self._with_features(template)
        if template.features is not None and ready is not template:
            self._node.get_logger().warning(f"template {template.name} was made with other weights or another image_scale: its features "
                                            "are extracted anew from its picture")
        return ready

    def _with_features(self, template: Template) -> Template:
        return self._executor.submit(template.with_features, self._tracker.dalf, self._tracker.image_scale).result()

    def _adopt(self, template: Template | None) -> None:
        """Match to it from now on; None: to the next image."""
        stamp = time.time_ns()      # unlike that of any image, and of a template before
        self._template = None if template is None else (template, stamp)
        if self._background is not None:
            self._background.adopt(template, stamp)
        else:
            self._executor.submit(self._tracker.adopt, template, stamp)
        if template is not None and template.features is not None:
            self._node.get_logger().info(f"reference: template {template.name}, {len(template.features)} keypoints")
        self.announce()

    def announce(self) -> None:
        """Publish the template that is followed, if one is."""
        if self._template is not None and self._node.outputs is not None:
            self._node.outputs.publish([(topics.TEMPLATE, template_message(*self._template))])

    def _adopt_selection(self, template: Template) -> int:
        """Follow what was selected, from now on; returns its stamp. Raises TemplateError."""
        self._adopt_instead(self._with_features(template))
        assert self._template is not None
        return self._template[1]

    def _adopt_instead(self, template: Template | None) -> None:
        self._give_up()
        self._adopt(template)

    def drop(self) -> None:
        """The next image is to be the reference, whatever was followed or awaited."""
        self._give_up()
        if self._template is not None:
            self._adopt(None)

    def _give_up(self) -> None:
        """Await neither the library nor a selection."""
        self._seeks = False
        self._selected.give_up()

    def _on_load_template(self, request: Any, response: Any) -> Any:
        response.message = self._node.why_not_active() or (OWN_TEMPLATES if self._node.values["objects"] else "")
        if response.message:
            return response
        try:
            template = self.from_file(request.path) if request.path else None
        except (ValueError, OSError) as error:
            response.message = str(error)
            return response
        self._node.begin_anew(lambda: self._adopt_instead(template))
        response.success, response.name = True, "" if template is None else template.name
        response.message = "the next usable image becomes the reference" if template is None else f"template {template.name} is followed"
        return response
