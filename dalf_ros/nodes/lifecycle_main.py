"""What the nodes' main() do: load beside the executor, configure and activate, spin, stop cleanly, and an exit status."""
from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.task import Future

from ..late_answers import Later, answers_late
from .parameters import ParameterError
from .quiet_start import interrupt_no_more, interrupt_once
from .ros_home import ensure_ros_home
from .worker_node import WorkerNode

SWITCH_S = 0.0005       # a thread that has Python's lock gives way after so long; at Python's own 0.005 those of 30 Hz wait for others
TELLING = {"rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp", "rmw_cyclonedds_cpp", "rmw_zenoh_cpp"}      # rmw_connextdds does not
PATIENCE_S = 600.0      # of the executor at a time: asked to wait for ever, the one of rclpy 7.1 does nothing but wait
FAREWELL_S = 0.5        # for the answer to `lifecycle set NODE shutdown` to arrive: what is in flight dies with the process

HELP = """usage: {program} --ros-args [-r NAME:=TOPIC] [-p PARAMETER:=VALUE] [--params-file FILE]

A ROS node, set by remappings and parameters; docs/feature_node.md and docs/registration_node.md list them, config/dalf.yaml has their
defaults, `ros2 param describe` tells them of a running node. What the launch file takes: ros2 launch dalf live.launch.py --show-args"""


def run_nodes(make: Callable[[], Iterable[WorkerNode]], args: list[str] | None = None) -> int:
    """Run nodes in one process until they are told to stop or one of them is shut down as a lifecycle node.

    make: called once ROS is up; each node is loaded as it comes.

    Returns 0, also when interrupted (as programs of ROS do: launch calls anything else a death), or 1 when one could not be started.
    """
    interrupt_once()
    if {"-h", "--help"} & set(sys.argv[1:] if args is None else args):
        print(HELP.format(program=Path(sys.argv[0]).stem))
        return 0
    sys.setswitchinterval(SWITCH_S)
    cv2.setNumThreads(1)        # what it does at camera rate is so small that to wake its threads takes longer than they save
    nodes: list[WorkerNode] = []
    executor, loader, status = None, None, 0
    try:
        ensure_ros_home()
        rclpy.init(args=args)
        executor = make_executor()
        ended = Future(executor=executor)       # its result is the exit status
        for node in make():
            nodes.append(node)
            nodes[-1].on_finalized = lambda: ended.set_result(0)
            load_beside(nodes[-1])
            executor.add_node(nodes[-1])
        loader = threading.Thread(target=_load, args=(nodes, executor, ended), name="loader", daemon=True)
        loader.start()
        while not ended.done() and rclpy.ok():
            executor.spin_until_future_complete(ended, timeout_sec=PATIENCE_S)
        status = _farewell(executor, ended)
    except ParameterError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():
            raise       # else a signal shut ROS down in the middle of a step
    finally:
        interrupt_no_more()
        _stop(nodes, executor)
        if (loader is not None and loader.is_alive()) or any(node.is_loading for node in nodes):
            _leave(status)
    return status


def make_executor() -> Executor:
    """rclpy's executor that is told of what comes, where rclpy has it and the middleware tells: the usual one goes over every topic, timer
    and service of a node, in Python, at each message, which takes a millisecond; at camera rate a fifth of a core for each node."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor() if rclpy.get_rmw_implementation_identifier() in TELLING else SingleThreadedExecutor()


def _load(nodes: list[WorkerNode], executor: Executor, ended: Future) -> None:
    """Load the models while the executor answers services; then it configures and activates, each node in turn."""
    def start(node: WorkerNode) -> None:
        if not _start(node) and not ended.done():
            ended.set_result(1)

    starting = [node for node in nodes if node.values["autostart"]]
    loads = [node.load_ahead() for node in starting if not node.is_configured]      # by service meanwhile; all at once
    for load in loads:
        load.exception()
    for node in starting:
        with suppress(RuntimeError):        # InvalidHandle: the process ends meanwhile
            executor.create_task(start, node)


def load_beside(node: WorkerNode) -> None:
    """Have a `configure` by service load the model on a thread of its own, and refuse what the state does not allow.

    As rclpy has it, the executor stands still while the model loads, and a transition that cannot be ends the process.
    """
    service = next(service for service in node.services if service.srv_type is ChangeState)
    change = service.callback

    def now(request: Any, response: Any) -> Any:
        try:
            return change(request, response)
        except RuntimeError as error:       # RCLError
            node.get_logger().error(f"no such transition now: {error}")
            response.success = False
            return response

    def change_state(request: Any, response: Any) -> Any:
        configures = Transition.TRANSITION_CONFIGURE == request.transition.id or request.transition.label == "configure"
        if configures and not node.is_configured:
            return Later(node.load_ahead(), lambda: now(request, response))
        return now(request, response)

    service.callback = change_state
    answers_late(service, node)


def _start(node: WorkerNode) -> bool:
    """Configure and activate, as far as nobody has done it by service meanwhile."""
    done = TransitionCallbackReturn.SUCCESS
    return (node.is_configured or node.trigger_configure() == done) and (node.is_active or node.trigger_activate() == done)


def _farewell(executor: Executor, ended: Future) -> int:
    """The exit status, once the last answers are out."""
    if not ended.done():
        return 0
    if ended.result() == 0:
        executor.spin_once(timeout_sec=FAREWELL_S)
    return ended.result()


def _stop(nodes: list[WorkerNode], executor: Executor | None) -> None:
    for node in nodes:
        node.stop()
    if executor is not None:
        executor.shutdown()
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def _leave(status: int) -> None:
    """End now: a thread in the middle of loading can neither be stopped nor outlive the interpreter."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
