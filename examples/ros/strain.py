"""How far a surface is stretched between two points: name them by two pixels, and print their distance in each frame.

    python strain.py X1 Y1 X2 Y2 [--frames N] [--ros-args -r __ns:=/NAMESPACE]
"""
import argparse
import sys
from itertools import islice

import numpy as np
from rclpy.utilities import remove_ros_args

from dalf_ros.client import SurfaceClient, SurfaceClientError

NAMES = ("strain/from", "strain/to")
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("pixels", nargs=4, type=float, metavar=("X1", "Y1", "X2", "Y2"), help="x and y of both points in the colour image")
parser.add_argument("--frames", type=int, help="end after so many")
options = parser.parse_args(remove_ros_args(sys.argv)[1:])

try:
    with SurfaceClient() as client:
        print("waiting for a tracked surface, a minute at most", file=sys.stderr)
        client.wait_for_tracked(timeout_s=60)
        known = client.point_names()
        for name, pixel in zip(NAMES, (options.pixels[:2], options.pixels[2:])):
            if name in known:
                client.forget_point(name)
            client.track_point(name, pixel=pixel)
        at_first = None
        with_both = (surface for surface in client.surfaces() if all(name in surface.points for name in NAMES))
        for surface in islice(with_both, options.frames):
            start, end = (surface.points[name] for name in NAMES)
            length = float(np.linalg.norm(end.position - start.position))
            along = (end.position - start.position) / length
            sigma = float(np.sqrt(along @ (start.covariance + end.covariance) @ along))     # as if the two erred independently
            if at_first is None:
                at_first = length
            seen = "both seen" if start.visible and end.visible else "one is hidden"
            print(f"{1000 * length:.1f} +- {1000 * sigma:.1f} mm, strain {length / at_first - 1:+.2%} ({surface.status}, {seen})",
                  flush=True)
except KeyboardInterrupt:
    pass
except SurfaceClientError as error:
    sys.exit(f"error: {error}")
