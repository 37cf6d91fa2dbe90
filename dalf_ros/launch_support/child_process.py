"""One of our programs as a process of its own."""
from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

STOP_S = 20.0           # before it is ended by force


class Process:
    """`python -m dalf_ros.NAME ARGUMENTS`, started at once. Its output goes to the file `log`."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("w") as output:
            self._process = subprocess.Popen([sys.executable, "-u", "-m", f"dalf_ros.{name}", *arguments], stdin=subprocess.DEVNULL,
                                             stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def has_ended(self) -> bool:
        return self.exit_status() is not None

    def tail(self) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])

    def stop(self) -> int:
        """End it as Ctrl-C would, by force where that does not help; exit status."""
        if not self.has_ended():
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()
