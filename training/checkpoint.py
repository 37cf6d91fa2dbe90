"""The folder of a training run: its files, locked against a second run, each written whole."""
from __future__ import annotations

import fcntl
import io
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from dalf_core.features.network import Network
from dalf_core.files.whole_file import write_whole
from dalf_core.weights import ARCHITECTURES, save_weights

FORMAT = "dalf-training-1"
LOCK = ".lock"


class RunError(RuntimeError):
    """A run folder that cannot be used, or a checkpoint that does not fit. The message says what to do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors within name the file and what to do. OSError."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}; the last good state is kept: mend that, then go on "
                      "with --resume") from error


class RunFolder:
    """Paths of a run. Hold it in a `with` block: it is locked against a second run.

    last.pt: everything needed to go on. last.safetensors, best.safetensors: the network alone. config.yaml: settings.
    history.jsonl: one line of measures every log_every steps. tensorboard/: curves and pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint, self.last, self.best = path / "last.pt", path / "last.safetensors", path / "best.safetensors"
        self.config, self.history, self.tensorboard = path / "config.yaml", path / "history.jsonl", path / "tensorboard"
        self._lock: io.TextIOWrapper | None = None
        self._is_ours = False       # made here

    def __enter__(self) -> RunFolder:
        self._is_ours = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / LOCK, "w", encoding="utf-8")
        except OSError as error:
            raise OSError(f"the output folder {self.path} cannot be written: {error.strerror or error}; "
                          "name another one with --output") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise RunError(f"another training run is writing to {self.path}; wait for it, or name another folder") from error
        for leftover in self.path.glob(".*.part*"):      # of a run that was killed
            leftover.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is None:
            return
        if self._is_ours and [entry.name for entry in self.path.iterdir()] == [LOCK]:       # nothing came of it
            (self.path / LOCK).unlink()
            self.path.rmdir()
        self._lock.close()

    def load(self) -> dict[str, Any]:
        """The last checkpoint. RunError: there is none, it is damaged, or of another architecture."""
        if not self.checkpoint.is_file():
            raise RunError(f"{self.path} holds no run to resume ({self.checkpoint.name} is not there); leave --resume out to start one")
        try:
            content = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise RunError(f"{self.checkpoint} is damaged ({str(error).splitlines()[0]}); start anew from {self.last.name} "
                           "with --weights, in another folder") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise RunError(f"{self.checkpoint} is no checkpoint of this trainer")
        if content["architecture"] not in ARCHITECTURES:
            raise RunError(f"{self.checkpoint} is of architecture {content['architecture']!r}, this trainer makes "
                           f"{' and '.join(map(repr, ARCHITECTURES))}")
        return content

    def save(self, content: Mapping[str, Any]) -> None:
        """Write the checkpoint; the one before stays if that fails."""
        stream = io.BytesIO()
        torch.save({"format": FORMAT, **content}, stream)
        self.write(self.checkpoint, stream.getvalue())

    def export(self, path: Path, network: Network, metadata: Mapping[str, str]) -> None:
        """Write the network alone, for DALF(weights=path)."""
        with writing(path):
            try:
                save_weights(network, path, metadata=dict(metadata))
            except SafetensorError as error:        # its own, for a full disk
                raise OSError(str(error)) from error

    def write(self, path: Path, data: bytes) -> None:
        """Write a file whole, or leave the one before. OSError names the file."""
        with writing(path):
            write_whole(path, data)

    def append_history(self, line: Mapping[str, Any]) -> None:
        """Add a line to the history."""
        with writing(self.history), open(self.history, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def cut_history(self, stage: int, step: int) -> None:
        """Drop the lines after a step: what came after the checkpoint that a run goes on from."""
        if not self.history.is_file():
            return
        lines = [line for line in self.history.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in lines if (json.loads(line)["stage"], json.loads(line)["step"]) <= (stage, step)]
        self.write(self.history, "".join(line + "\n" for line in kept).encode())
