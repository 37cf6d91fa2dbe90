"""The pip door: the half that needs no ROS, dalf_core and the trainer. (colcon builds the whole through CMakeLists.txt.)"""
import re
from pathlib import Path

from setuptools import find_packages, setup

version = re.search(r"<version>(.*?)</version>", Path("package.xml").read_text(encoding="utf-8"))[1]

setup(
    name="dalf",
    version=version,
    description="Follows a deforming surface: deformation-aware features (DALF) and non-rigid registration.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["dalf_core", "dalf_core.*"])
    + ["dalf_training", *(f"dalf_training.{name}" for name in find_packages("training"))],
    package_dir={"dalf_training": "training"},
    package_data={"": ["*.*", "*/*.*"]},
    # Lower bounds; requirements/*.txt hold the exact versions that are tested.
    install_requires=["torch>=2.9", "numpy>=1.26", "scipy>=1.11", "numba>=0.60", "opencv-python-headless>=4.9",
                      "safetensors", "imagesize>=2.0", "openvino>=2024", "tqdm"],
    extras_require={"tools": ["matplotlib", "pyvista", "av"], "train": ["kornia>=0.8", "matplotlib", "pyyaml", "tensorboard"],
                    "cuda": ["warp-lang>=1.19"]},
)
