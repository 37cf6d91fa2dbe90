"""`./run view`: a page in the browser with what running nodes see: image and matches, surface, status, buttons for a new reference.

Nothing is decoded or drawn here: the feature node draws the image, the browser draws the surface. What nobody looks at is not asked for.
"""
from __future__ import annotations

import argparse
import sys
import time
from functools import partial

from dalf_core.commands.command_line import HelpWithDefaults, exit_status
from dalf_core.commands.live import add_page_options
from dalf_core.interruption import Interruption
from dalf_core.viewing.page_server import PageServer

from ..nodes.ros_home import ensure_ros_home

BUTTONS = {"set reference": "set_reference", "reset": "reset"}      # caption: service of the feature node
LOOK_EVERY_S = 1.0


def parser() -> argparse.ArgumentParser:
    """The command line; everything after --ros-args goes to ROS: `-r __ns:=/left` for nodes in a namespace."""
    p = argparse.ArgumentParser(prog="./run view", description=__doc__, formatter_class=HelpWithDefaults)
    add_page_options(p)
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 ended by Ctrl-C; 2 an error, told in one line."""
    words = list(sys.argv[1:] if args is None else args)
    at = words.index("--ros-args") if "--ros-args" in words else len(words)
    options = parser().parse_args(words[:at])
    return exit_status(lambda: view(options, words[at:]))


def view(options: argparse.Namespace, ros_args: list[str]) -> int:
    """Show until interrupted."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from .viewer import Viewer

    ensure_ros_home()
    rclpy.init(args=ros_args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node("dalf_view")
        viewer = Viewer(node)
        buttons = {caption: partial(viewer.call, service) for caption, service in BUTTONS.items()}
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        with PageServer("dalf view", buttons, options.host, options.port) as page, Interruption() as interruption:
            print(f"open {page.url} in a browser; Ctrl-C ends", flush=True)
            viewer.page = page
            looked = 0.0
            while not interruption.asked:
                executor.spin_once(timeout_sec=0.2)
                if time.monotonic() - looked > LOOK_EVERY_S:
                    looked = time.monotonic()
                    viewer.look()
        executor.shutdown()
    finally:
        rclpy.try_shutdown()
    return 0
