"""Every followed surface as a numbered PLY file, and a table of their times: for Blender, MeshLab, Open3D.

    python export_sequence.py FOLDER [--frames N] [--ros-args -r __ns:=/NAMESPACE]
"""
import argparse
import csv
import sys
from itertools import islice
from pathlib import Path

from rclpy.utilities import remove_ros_args

from dalf_core import save_ply
from dalf_ros.client import SurfaceClient, SurfaceClientError

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path, help="a new one")
parser.add_argument("--frames", type=int, help="end after so many")
options = parser.parse_args(remove_ros_args(sys.argv)[1:])
folder = options.folder
folder.mkdir(parents=True)                                  # one that is there already is an error: nothing is overwritten

try:
    print("waiting for surfaces, half a minute at most", file=sys.stderr)
    with SurfaceClient() as client, open(folder / "frames.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "stamp_ns", "status", "residual_m", "visible_share"])
        for number, surface in enumerate(islice(client.surfaces(silence_s=30), options.frames)):    # ends half a minute after the last one
            path = folder / f"{number:06d}.ply"
            save_ply(path, surface.vertices, surface.triangles, surface.colors, surface.normals)
            seen = "" if surface.visible is None else f"{surface.visible.mean():.3f}"
            table.writerow([path.name, surface.stamp_ns, surface.status, f"{surface.residual_m:.5f}", seen])
    print(f"written: {folder}")
except KeyboardInterrupt:
    pass
except SurfaceClientError as error:
    sys.exit(f"error: {error}")
