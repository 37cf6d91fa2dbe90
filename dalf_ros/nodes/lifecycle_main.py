"""What the nodes' main() do: start, configure and activate, spin, stop cleanly, and an exit status that says how it went."""
from __future__ import annotations

import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn

from .parameters import ParameterError
from .quiet_start import interrupt_as_usual
from .ros_home import ensure_ros_home
from .worker_node import WorkerNode

SWITCH_S = 0.0005       # a thread that has Python's lock gives way after so long; at Python's own 0.005 those of 30 Hz wait for others


def run_nodes(makers: list[Callable[[], WorkerNode]], args: list[str] | None = None) -> int:
    """Run the nodes in one process until they are told to stop.

    Returns 0, 1 when one could not be started, 130 when interrupted before they all ran.
    """
    interrupt_as_usual()
    sys.setswitchinterval(SWITCH_S)
    nodes: list[WorkerNode] = []
    running = False
    executor = None
    try:
        ensure_ros_home()
        rclpy.init(args=args)
        executor = SingleThreadedExecutor()
        for make in makers:
            nodes.append(make())
        for node in nodes:
            executor.add_node(node)
            if node.values["autostart"] and not _start(node):
                return 1
        running = True
        executor.spin()
    except ParameterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0 if running else 130
    except Exception:
        if rclpy.ok():
            raise
        return 0 if running else 130        # a signal shut ROS down in the middle of a step
    finally:
        for node in nodes:
            node.stop()
        if executor is not None:
            executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _start(node: WorkerNode) -> bool:
    """Configure and activate."""
    return all(step() == TransitionCallbackReturn.SUCCESS for step in (node.trigger_configure, node.trigger_activate))
