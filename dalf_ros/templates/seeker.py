"""Which template of a library the camera shows: images are asked, one at a time, until one shows one."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dalf_core import DALF
from dalf_core.templates.library import Library, Recognition
from dalf_core.templates.template import Template


class Seeker:
    """Asks a library on the thread that DALF works on. folder: of templates; files that come, change or go are heeded.

    Raises TemplateError where the folder holds no sound template, OSError where it cannot be read.
    """

    def __init__(self, folder: Path, dalf: DALF, image_scale: float, executor: ThreadPoolExecutor) -> None:
        self._folder, self._executor = folder, executor
        self._library = Library(dalf, image_scale)
        self._problems, self._told = self._library.read_folder(folder), set[str]()
        self._asked: Future[tuple[Recognition, Template | None]] | None = None

    def __len__(self) -> int:
        return len(self._library)

    def news(self) -> list[str]:
        """What is wrong with files that are left out, as far as it was not given before."""
        new = [problem for problem in self._problems if problem not in self._told]
        self._told.update(new)
        return new

    def ask(self, image: np.ndarray, answered: Callable[[Recognition, Template | None], None], failed: Callable[[str], None]) -> None:
        """Have an image looked at, unless another one is; answered(recognition, template) or failed(why) is called on that thread."""
        if self._asked is not None and not self._asked.done():
            return

        def tell(asked: Future[tuple[Recognition, Template | None]]) -> None:
            if asked.cancelled():
                return
            if error := asked.exception():
                failed(str(error))
            else:
                answered(*asked.result())

        self._asked = self._executor.submit(self._recognise, image)
        self._asked.add_done_callback(tell)

    def _recognise(self, image: np.ndarray) -> tuple[Recognition, Template | None]:
        self._problems = self._library.read_folder(self._folder)
        found = self._library.recognise(image)
        return found, None if found.name is None else self._library.template(found.name)
