"""The devices that Warp's kernels are tested on: its CPU, and a GPU where there is one."""
import pytest

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
