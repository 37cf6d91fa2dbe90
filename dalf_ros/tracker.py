"""tracker: feature_node and registration_node in one process; same topics, parameters and services."""
from __future__ import annotations

if __name__ == "__main__":      # before the imports that take their time
    from dalf_ros.nodes.quiet_start import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import sys

from .feature_node import FeatureNode
from .nodes.lifecycle_main import run_nodes
from .registration_node import RegistrationNode


def main(args: list[str] | None = None) -> int:
    """Run both nodes until they are told to stop."""
    return run_nodes([FeatureNode, RegistrationNode], args)


if __name__ == "__main__":
    sys.exit(main())
