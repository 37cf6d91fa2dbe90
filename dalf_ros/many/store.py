"""The output folder of many runs: what is done, what has failed, and with which options. Its files are the truth, the tables follow."""
from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from dalf_core.files.whole_file import write_whole

RECORD = "run.json"             # in the folder of a run: its row of the table, and the options it was made with
LOG = "log.txt"                 # what `register` would have printed
NOT_OF_A_RUN = ("recording", "output", "overwrite", "rerun", "weights")     # change no results; of weights their SHA-256 counts


class StoreError(RuntimeError):
    """The folder cannot be used as it is. The message names the mend."""


class Store:
    """Context: the folder, held for this process alone. runs, failed, parts: its folders.

    Raises StoreError: another process works in it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs, self.failed, self.parts = folder / "runs", folder / "failed", folder / ".parts"
        self._lock: Any = None

    def __enter__(self) -> Store:
        try:
            for place in (self.runs, self.failed, self.parts):
                place.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise StoreError(f"the output folder {self.folder} cannot be written: {error.strerror or error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise StoreError(f"another register-many works in {self.folder}: wait for its end, or choose another --output") from None
        self.sweep()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.sweep()
        self._lock.close()

    def sweep(self) -> None:
        """Remove what killed workers have left unfinished."""
        for part in self.parts.iterdir():
            shutil.rmtree(part, ignore_errors=True)

    def done(self) -> dict[str, dict[str, Any]]:
        """Records of the runs that are there, by the recording's address."""
        return _by_source(path for path in sorted(self.runs.glob(f"*/{RECORD}")))

    def failures(self) -> dict[str, dict[str, Any]]:
        """Records of the recordings that could not be registered, by address."""
        return _by_source(path for path in sorted(self.failed.glob("*.json")))

    def write_failure(self, record: dict[str, Any]) -> None:
        """Raises OSError."""
        write_whole(self.failed / f"{record['name']}.json", json.dumps(record, indent=1).encode())

    def forget_failure(self, name: str) -> None:
        """It was registered after all."""
        for ending in (".json", ".txt"):
            (self.failed / f"{name}{ending}").unlink(missing_ok=True)


def _by_source(paths: Any) -> dict[str, dict[str, Any]]:
    found = {}
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found[record["source"]] = record
        except (ValueError, KeyError, TypeError) as error:
            what = path.parent if path.name == RECORD else path
            raise StoreError(f"{path} is damaged ({error}): delete {what}, then call again") from error
    return found


def options_hash(told: dict[str, Any]) -> str:
    """16 hexadecimal digits that differ where options do."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """In words: image_scale was 1.0, is 2.0."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return "; ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in names)
