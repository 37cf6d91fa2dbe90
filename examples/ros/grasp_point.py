"""Where to grasp: name the point of the followed surface at a pixel, and print where it is and from where to approach it.

    python grasp_point.py X Y [--frames N] [--ros-args -r __ns:=/NAMESPACE]
"""
import argparse
import sys
from itertools import islice

import numpy as np
from rclpy.utilities import remove_ros_args

from dalf_ros.client import SurfaceClient, SurfaceClientError

APPROACH_M = 0.10
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("pixel", nargs=2, type=float, metavar=("X", "Y"), help="x and y in the colour image")
parser.add_argument("--frames", type=int, help="end after so many")
options = parser.parse_args(remove_ros_args(sys.argv)[1:])

try:
    with SurfaceClient() as client:
        print("waiting for a tracked surface, a minute at most", file=sys.stderr)
        client.wait_for_tracked(timeout_s=60)
        if "grasp" in client.point_names():
            client.forget_point("grasp")
        client.track_point("grasp", pixel=options.pixel)
        with_grasp = (surface for surface in client.surfaces() if "grasp" in surface.points)
        for surface in islice(with_grasp, options.frames):
            grasp = surface.points["grasp"]
            if surface.status == "lost" or not grasp.visible:
                print(f"{surface.status}, grasp point hidden: wait")
                continue
            sure_mm = 1000 * np.sqrt(np.trace(grasp.covariance))            # NaN: of the reference itself
            before = grasp.position + APPROACH_M * grasp.normal             # the normal points to the camera
            print(f"grasp at {grasp.position.round(4)} m in {surface.frame_id}, +- {sure_mm:.1f} mm, come from {before.round(4)}, "
                  f"closing along {grasp.rotation[:, 0].round(3)}", flush=True)
except KeyboardInterrupt:
    pass
except SurfaceClientError as error:
    sys.exit(f"error: {error}")
