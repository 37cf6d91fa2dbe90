"""`./run demo`: a simulated cloth, followed offline and through live nodes, measured against its exact ground truth."""
from __future__ import annotations


def main(args: list[str] | None = None) -> int:
    """Run the demo; see command.main."""
    from .command import main as run

    return run(args)
