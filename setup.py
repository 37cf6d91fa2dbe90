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
    packages=find_packages(include=["dalf_core", "dalf_core.*", "dalf_ros", "dalf_ros.*"])
    + ["dalf_training", *(f"dalf_training.{name}" for name in find_packages("training"))],
    package_dir={"dalf_training": "training"},
    package_data={"": ["*.*", "*/*.*"]},
    # Lower bounds; requirements/*.txt hold the exact versions that are tested.
    install_requires=["torch>=2.9", "numpy>=1.26", "scipy>=1.11", "numba>=0.60", "opencv-python-headless>=4.9",
                      "safetensors", "faiss-cpu>=1.8", "imagesize>=2.0", "openvino>=2024", "tqdm"],
    extras_require={"video": ["av", "matplotlib", "pyvista"],
                    "ros-bags": ["rosbags>=0.11", "mcap", "apsw", "ruamel.yaml>=0.18", "zstandard", "av", "matplotlib", "pyvista",
                                 "fast-simplification", "jinja2"],
                    "train": ["kornia>=0.8", "matplotlib", "pyyaml", "tensorboard"], "export": ["onnx", "onnxscript", "onnxruntime"],
                    "view": ["websockets>=14", "av"], "rerun": ["rerun-sdk>=0.23"],
                    "cuda": ["warp-lang>=1.19"], "many": ["ray>=2.60", "pyarrow>=18", "fsspec"],
                    "datasets": ["pyarrow>=18", "pygltflib>=1.16"]},
    # Of dalf_ros, only what reads recordings runs without ROS; for it the messages and the version are there as in an installed package.
    data_files=[("share/dalf", ["package.xml"]), ("share/dalf/msg", sorted(str(path) for path in Path("msg").glob("*.msg")))],
    entry_points={
        "console_scripts": ["dalf = dalf_core.commands.main:main"],
        "dalf.commands": ["match = dalf_core.commands.match:main", "video = dalf_core.commands.video:main",
                          "live = dalf_core.commands.live:main", "template = dalf_core.commands.template:main",
                          "retrieve = dalf_core.commands.retrieve:main", "export = dalf_core.commands.export:main",
                          "register = dalf_ros.register:main", "report = dalf_ros.report:main",
                          "register-many = dalf_ros.many.command:main", "export-dataset = dalf_ros.export_dataset:main",
                          "train = dalf_training.command:main", "evaluate = dalf_training.evaluate:main"]},
)
