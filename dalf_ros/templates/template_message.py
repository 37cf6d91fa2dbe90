"""A template as a message, and by what a MatchArray names it."""
from __future__ import annotations

from typing import Any

import numpy as np

from dalf_core.templates.template import Template
from dalf_core.templates.template_file import MOST_BYTES, template_bytes, template_of

from ..conversions.messages import header, stamp_ns, template_frame


def template_message(template: Template, stamp: int) -> dict:
    """Template message; stamp, nanoseconds: by which matches name it."""
    return {"header": header(stamp, template_frame(template.name)), "name": template.name,
            "data": np.frombuffer(template_bytes(template), np.uint8)}


def template_of_message(message: Any) -> tuple[Template, int]:
    """The template and its stamp. Raises TemplateError (a ValueError) on anything unsound."""
    data = bytes(message.data[:MOST_BYTES])
    return template_of(data, f"template {str(message.name)[:100]!r}"), stamp_ns(message.header)
