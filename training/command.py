"""`./run train --images DIR --output RUN`: train DALF on a folder of photos. No labels are needed.

Ctrl-C or SIGTERM saves the run and stops it; --resume goes on. With several GPUs, or on several machines:
torchrun --nproc-per-node=gpu -m dalf_training --images DIR --output RUN
"""
from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dalf_core.commands.command_line import program

MODES = ("ts1", "ts2", "ts-fl", "end2end-backbone", "end2end-tps", "end2end-full", "end2end-fl", "light")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("train"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of photos; folders below it are searched, too")
    p.add_argument("--output", type=Path, default=Path("out/training"), metavar="RUN",
                   help="folder of the run; made when it is not there (default out/training)")
    source = p.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE",
                        help="YAML settings: a file, or a name such as finetune for one of the trainer's own (default: default)")
    source.add_argument("--smoke", action="store_true", help="a run of two minutes on two CPU cores that shows that all works")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help="a setting, for all stages; repeatable")
    p.add_argument("--mode", choices=MODES, help="run this one stage alone")
    p.add_argument("--steps", type=int, metavar="N", help="steps of each stage; short for --set steps=N")
    p.add_argument("--device", help="auto, cpu, cuda, cuda:N; short for --set device=...")
    p.add_argument("--weights", metavar="START", help="weights to start from: a path or 'official' (default: random ones)")
    p.add_argument("--resume", action="store_true", help="go on with the run in RUN; settings are taken from there")
    p.add_argument("--minutes", type=float, metavar="M", help="save and stop after M minutes; --resume goes on")
    p.add_argument("--cache", type=Path, metavar="DIR", help="folder for the resized photos (default: in the user's cache)")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done, or stopped after --minutes; 1 the training diverged; 2 an error, printed in one line; 130 after Ctrl-C, 143
    after SIGTERM, with the run saved if a step was done."""
    options = parser().parse_args(args)
    signals = StopSignals()
    try:
        with signals, quiet_threads():
            return _train(options, signals)
    except KeyboardInterrupt:
        print("interrupted" if signals.asked else "interrupted before the first step; there was nothing new to save", file=sys.stderr)
        return 128 + signals.received[0]


def _train(options: argparse.Namespace, signals: StopSignals) -> int:
    """The exit status."""
    from .memory import keep_freed_memory

    keep_freed_memory()

    from dalf_core.weights import WeightsError

    from .run import train
    from .trainer import DivergedError

    try:
        train(options, signals.stop)
        return 128 + signals.received[0] if signals.received else 0
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (WeightsError, RuntimeError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


@contextmanager
def quiet_threads() -> Iterator[None]:
    """No traceback of a thread is printed: ours and TensorBoard's pass their errors to the main thread, which prints them in one line."""
    before, threading.excepthook = threading.excepthook, lambda _: None
    try:
        yield
    finally:
        threading.excepthook = before


class StopSignals:
    """SIGINT and SIGTERM, in a `with` block. received: their numbers.

    Until `stop` is asked for the first time, in the first step, both raise KeyboardInterrupt: there is nothing to save. From then on the
    first one is only noted, for the training loop to save the run, and a second one raises.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.asked = False

    def stop(self) -> bool:
        """Whether one was received."""
        self.asked = True
        return bool(self.received)

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: Any) -> None:
        self.received.append(number)
        if not self.asked or len(self.received) > 1:
            raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
