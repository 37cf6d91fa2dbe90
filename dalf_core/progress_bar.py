"""A progress bar on a terminal; in a log file or a pipe a line now and then, without the control characters of a bar."""
from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

LOG_EVERY_S = 10.0      # between the lines of a log, where tqdm's own variable TQDM_MININTERVAL says nothing else


class ProgressLog(tqdm):
    """tqdm that writes lines."""

    @staticmethod
    def status_printer(file: TextIO) -> Callable[[str], None]:
        def write(line: str) -> None:
            if line:
                file.write(line.strip() + "\n")
                file.flush()

        return write

    def close(self) -> None:
        """The last line, which tqdm would end once more."""
        if not hasattr(self, "start_t"):        # it is set last: Ctrl-C met a bar that is still being made, of which tqdm misses the rest
            self.disable = True
        elif not self.disable:
            if self.n != self.last_print_n:
                self.display()
            self.sp, self.fp = lambda _line: None, io.StringIO()
        super().close()


def progress_bar(*arguments: Any, **options: Any) -> tqdm:
    """tqdm(...) as the standard error stream wants it: a bar, or lines of a log."""
    if sys.stderr.isatty():
        return tqdm(*arguments, **options)
    every_s = float(os.environ.get("TQDM_MININTERVAL", LOG_EVERY_S))
    return ProgressLog(*arguments, **({"mininterval": every_s, "maxinterval": LOG_EVERY_S, "ascii": True, "ncols": 80} | options))
