"""The save_template service: the present reference to a .dalf file, whole or not at all."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dalf_core.templates.template import Template, TemplateError, check_name
from dalf_core.templates.template_file import SUFFIX, save_template

from ..conversions.pinhole_view import PinholeView
from .save_surface import NotSaved, target_file


def save_reference(request: Any, folder: str, reference: PinholeView | Template | None, points: dict[str, np.ndarray],
                   **options: Any) -> tuple[bool, str, str]:
    """Answer a SaveTemplate request: success, message, absolute path.

    reference: the frame that became the reference, the template that is followed, or None. folder: nothing is written outside it; empty:
    the working directory. points: named ones, (3,) metres on the reference surface. options: of Template.of_frame.
    """
    if reference is None:
        return False, "there is no reference surface yet", ""
    name = request.name or Path(request.path).stem or (reference.name if isinstance(reference, Template) else "")
    try:
        check_name(name)
        target = target_file(request.path or name + SUFFIX, request.overwrite, folder, (SUFFIX,))
        template = replace(reference, name=name) if isinstance(reference, Template) else _of_view(name, reference, options)
        template = replace(template, points=points)
        save_template(template, target)
    except (NotSaved, TemplateError) as error:
        return False, str(error), ""
    except OSError as error:
        return False, f"{request.path or name} cannot be written: {error.strerror or error}", ""
    assert template.surface is not None
    return True, f"template {name}, {len(template.surface.vertices)} vertices, written to {target}", str(target)


def _of_view(name: str, view: PinholeView, options: dict[str, Any]) -> Template:
    if view.image is None:
        raise TemplateError("no colour image came with the reference, and a template is recognised by its picture: remap `image` to the "
                            "colour camera, then take a new reference")
    return Template.of_frame(name, view.image, view.depth_m, view.camera, view.mask, **options)
