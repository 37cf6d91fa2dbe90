"""tracker: feature_node and registration_node, one for each object, in one process; same topics, parameters and services."""
from __future__ import annotations

if __name__ == "__main__":      # before the imports that take their time
    from dalf_ros.nodes.quiet_start import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import sys
from collections.abc import Iterator

from .feature_node import FeatureNode
from .nodes.lifecycle_main import run_nodes
from .nodes.worker_node import WorkerNode
from .objects.object_nodes import registration_nodes


def tracker_nodes() -> Iterator[WorkerNode]:
    """All of them, made one after the other."""
    features = FeatureNode()
    yield features
    yield from registration_nodes(features)


def main(args: list[str] | None = None) -> int:
    """Run the nodes until they are told to stop."""
    return run_nodes(tracker_nodes, args)


if __name__ == "__main__":
    sys.exit(main())
