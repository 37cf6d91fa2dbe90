"""Two frames of a depth camera: register the surface of the first to the second, and ask where a grasp point went."""
from pathlib import Path

import numpy as np

from dalf_core import DALF, NonRigidRegistration, PictureFolder, match_images, save_ply

recording = PictureFolder(Path(__file__).parent / "data")       # color/, depth/, intrinsics.txt
first, second = list(recording.frames())[:2]                    # .image: BGR, .depth_m: metres, NaN = no reading

pair = match_images(first.image, second.image, dalf=DALF(top_k=1024))
print(f"{pair.verified} verified matches")

registration = NonRigidRegistration(recording.camera().camera)
registration.set_reference(first.depth_m, first.image)
result = registration.register(second.depth_m, pair.points_a, pair.points_b)
print(f"{result.status}, residual {1000 * result.residual_m:.1f} mm, {result.visible.mean():.0%} of the surface seen")

surface = registration.surface
save_ply("deformed.ply", result.vertices, surface.triangles, surface.colors, result.normals)

x, y = 240, 180                                                 # a pixel of the first image, on the cloth
grasp = registration.camera.lift(np.array([[x, y]]), first.depth_m[[y], [x]])       # (1, 3) metres, camera optical frame
print(f"the grasp point moved from {grasp[0].round(3)} to {result.warp(grasp)[0].round(3)}")
