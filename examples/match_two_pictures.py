"""Two pictures of a surface that bends: do they show the same one, and which point is where?"""
from pathlib import Path

import cv2

from dalf_core import fit_image_warp, match_images

data = Path(__file__).parent / "data" / "color"
a, b = (cv2.imread(str(data / name)) for name in ("0.jpg", "1.jpg"))

pair = match_images(a, b)
print(f"{pair.verified} verified matches ({pair.reason})")

warp = fit_image_warp(pair.points_a, pair.points_b, pair.a.image_size, pair.b.image_size)
point = (240.0, 180.0)
print(f"pixel {point} of A lies at {warp.image_positions([point])[0].round(1)} of B")
