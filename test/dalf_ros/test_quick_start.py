"""What a node loads before its first result, each in a process of its own."""
from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
WARM_UP = """
from dalf_core import DALF
from dalf_core.tracking import FeatureTracker, SurfaceTracker
FeatureTracker(DALF(device="cpu", top_k=16)).warm_up()
SurfaceTracker().warm_up()
"""
# what reads a kernel from numba's cache, and what compiles one
COUNTED = """
from numba.core import caching, dispatcher
compiled = []
plain = dispatcher._FunctionCompiler.compile
dispatcher._FunctionCompiler.compile = lambda self, *given: compiled.append(self.py_func.__name__) or plain(self, *given)
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_registration_does_without_pytorch() -> None:
    """It takes seconds and 200 MB."""
    assert run("import sys, dalf_ros.registration_node; print('torch' in sys.modules, 'openvino' in sys.modules)") == "False False"


def test_feature_node_is_there_before_pytorch() -> None:
    """It is imported while the node answers already."""
    assert run("import sys, dalf_ros.feature_node; print('torch' in sys.modules, 'openvino' in sys.modules)") == "False False"


def test_a_second_start_compiles_no_kernel() -> None:
    probe = "import numba; numba.njit(lambda: 1)()\n"        # is counted
    run(WARM_UP)
    assert run(f"{COUNTED}{probe}{WARM_UP}print(compiled)") == "['<lambda>']"
