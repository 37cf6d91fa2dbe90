"""Ray, on this machine alone or on a cluster that runs already."""
from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from .fetching import scratch_folder

OBJECT_STORE_BYTES = 80 << 20       # Ray's least: what passes between processes here are a few hundred bytes a recording
ANSWER_S = 5.0
MIB = 1 << 20
# What Ray would do unasked: report its use, keep measurements for a dashboard.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_metrics_collection": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# Of a cluster that is started here. The name of the second is Ray's: where it is 0 all programs listen on the loopback alone.
LOCAL = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Programs of Ray's head that nothing here needs. The first of them asks the provider of a cloud machine what machine it is.
NOT_STARTED = ("start_api_server", "start_monitor", "start_log_monitor")


class ClusterError(RuntimeError):
    """Ray cannot be started or reached, or has too little. The message names the mend."""


@dataclass(frozen=True)
class Share:
    """What one recording is given. memory: bytes that Ray sets aside, not a limit that is enforced. gpus: may be a fraction."""

    cpus: float
    memory: int
    gpus: float = 0.0

    def fits(self, resources: dict[str, float]) -> bool:
        """Whether a machine with these could ever hold it."""
        wanted = {"CPU": self.cpus, "memory": self.memory, "GPU": self.gpus}
        return all(resources.get(name, 0.0) >= value for name, value in wanted.items())

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.cpus:g} core{'s' * (self.cpus > 1)}{gpus} and {self.memory / MIB:.0f} MiB"


@contextmanager
def connected(address: str | None, share: Share) -> Iterator[int]:
    """Context: Ray, in which tasks can be started; how many of them at once. address: None: this machine; "auto", or host:port of a head.

    Raises ClusterError.
    """
    os.environ.update(QUIET)        # Ray reads them when it is imported
    if address is None:
        os.environ.update(LOCAL)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError as error:
        raise ClusterError(f"Ray cannot be loaded ({error}): ./run register-many installs it, or pip install 'dalf[many]'") from error

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with scratch_folder() as folder:
        try:
            if address is None:
                _start(ray, str(folder), quiet)
            else:
                _check_answers(address)
                ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            ray.shutdown()
            where = "be started on this machine" if address is None else f"be reached at {address}"
            mend = "" if address is None else "; this machine must be one of the cluster's, with the same ~/.ray/auth_token and Ray"
            raise ClusterError(f"Ray cannot {where}: {_first_line(error)}{mend}") from error
        try:
            yield _slots(ray, share)
        finally:
            ray.shutdown()


def _start(ray: Any, folder: str, quiet: dict[str, Any]) -> None:
    """A cluster of this machine's cores: its programs hear each other alone, by the loopback and a password, and end with this process."""
    from ray._private.node import Node

    nothing = {name: lambda *_, **__: None for name in NOT_STARTED if hasattr(Node, name)}
    with patch.multiple(Node, **nothing):
        ray.init(address="local", include_dashboard=False, num_cpus=len(os.sched_getaffinity(0)), object_store_memory=OBJECT_STORE_BYTES,
                 _temp_dir=folder, **quiet)


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes. Raises ClusterError."""
    if address == "auto":
        return
    if address.startswith("ray://"):
        raise ClusterError(f"--address {address} is of a Ray client: call this on a machine of the cluster, with host:port of its head "
                           "(such as 10.0.0.1:6379), or auto")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ClusterError(f"--address {address}: expected host:port of the cluster's head (such as 10.0.0.1:6379), or auto")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"--address {address} does not answer ({error}): start Ray there (./run exec ray start --head), or leave "
                           "--address out to use this machine alone") from error


def _slots(ray: Any, share: Share) -> int:
    """How many recordings at once. Raises ClusterError where not a single one can be."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(map(share.fits, machines)):
        most = max(machines, key=lambda machine: (machine.get("CPU", 0), machine.get("memory", 0)), default={})
        has = Share(most.get("CPU", 0), int(most.get("memory", 0)), most.get("GPU", 0))
        raise ClusterError(f"no machine has {share} for one recording; the largest has {has} to give: ask for less with "
                           "--cpus-per-recording, --gpus-per-recording or --memory")
    return sum(_hold(machine, share) for machine in machines)


def _hold(machine: dict[str, float], share: Share) -> int:
    wanted = {"CPU": share.cpus, "memory": share.memory, "GPU": share.gpus}
    return int(min(machine.get(name, 0.0) // value for name, value in wanted.items() if value))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
