"""cv_bridge is used for what a child process has seen it do right; a broken one neither ends this process nor spoils a pixel."""
from __future__ import annotations

import importlib.util
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dalf_ros.images import bridge
from dalf_ros.images import image_conversion as ic

# As the real one converts, by OpenCV's names of the codes; wrong or fatal in the ways of one that was built for other libraries.
WORKING = """
import cv2, numpy as np
CODES = {"rgb8": cv2.COLOR_RGB2BGR, "bgr8": None, "rgba8": cv2.COLOR_RGBA2BGR, "bgra8": cv2.COLOR_BGRA2BGR,
         "bayer_rggb8": cv2.COLOR_BayerBG2BGR, "bayer_bggr8": cv2.COLOR_BayerRG2BGR, "bayer_gbrg8": cv2.COLOR_BayerGR2BGR,
         "bayer_grbg8": cv2.COLOR_BayerGB2BGR, "yuv422": cv2.COLOR_YUV2BGR_UYVY, "uyvy": cv2.COLOR_YUV2BGR_UYVY,
         "yuv422_yuy2": cv2.COLOR_YUV2BGR_YUY2, "yuyv": cv2.COLOR_YUV2BGR_YUY2}
class CvBridge:
    def imgmsg_to_cv2(self, message, encoding):
        channels = 1 if "bayer" in message.encoding else 2 if {"yu", "uy"} & {message.encoding[:2]} else 4 if "a" in message.encoding else 3
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, :message.width * channels]
        pixels = np.ascontiguousarray(rows).reshape(message.height, message.width, channels)
        code = CODES[message.encoding]
        return pixels if code is None else cv2.cvtColor(pixels, code)
"""
GARBLED = WORKING.replace("[:, :message.width * channels]", ".reshape(-1)[:message.height * message.width * channels]")
ENDS = "import os\nos.abort()\n"
ENDS_LATER = WORKING + """
_real = CvBridge.imgmsg_to_cv2
def _fatal(self, message, encoding):
    if message.encoding.startswith("bayer"):
        import os
        os.abort()
    return _real(self, message, encoding)
CvBridge.imgmsg_to_cv2 = _fatal
"""
SWAPPED = WORKING.replace('"rgb8": cv2.COLOR_RGB2BGR', '"rgb8": None')


@pytest.fixture(autouse=True)
def found_out_anew():
    """Neither what was found out before nor a cv_bridge of these tests is left for others."""
    before = sys.modules.get("cv_bridge")
    for cached in (bridge.usable_encodings, bridge._bridge):
        cached.cache_clear()
    yield
    for cached in (bridge.usable_encodings, bridge._bridge):
        cached.cache_clear()
    sys.modules.pop("cv_bridge", None)
    if before is not None:
        sys.modules["cv_bridge"] = before


def install(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cv_bridge").mkdir()
    (folder / "cv_bridge" / "__init__.py").write_text(source)
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def padded(encoding: str) -> SimpleNamespace:
    """An image with rows of three bytes too many, and its pixels as this package's own code reads them."""
    channels = ic.LAYOUT[encoding][1]
    pixels = np.random.default_rng(3).integers(0, 256, (6, 8, channels)[:2 + (channels > 1)], np.uint8)
    rows = np.hstack([pixels.reshape(6, -1), np.full((6, 3), 99, np.uint8)])
    return SimpleNamespace(height=6, width=8, encoding=encoding, is_bigendian=0, step=rows.shape[1], data=rows.tobytes(),
                           expected=ic.to_bgr(pixels, encoding))


@pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is not None, reason="a real cv_bridge is installed")
def test_without_one_nothing_is_tried_or_said(caplog: pytest.LogCaptureFixture) -> None:
    assert bridge.usable_encodings() == frozenset() and not caplog.records
    message = padded("rgb8")
    np.testing.assert_array_equal(ic.to_color(message), message.expected)


def test_one_that_works_is_used_for_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    install(WORKING, tmp_path, monkeypatch)
    assert bridge.usable_encodings() == set(bridge.ENCODINGS) and not caplog.records
    for encoding in bridge.ENCODINGS:
        message = padded(encoding)
        np.testing.assert_array_equal(bridge.through_bridge(message), message.expected)
        np.testing.assert_array_equal(ic.to_color(message), message.expected)


@pytest.mark.parametrize(("source", "lost", "said"), [
    (ENDS, set(bridge.ENCODINGS), "ends with -6"),
    ("raise ImportError('numpy.core.multiarray failed to import')", set(bridge.ENCODINGS), "multiarray failed"),
    (ENDS_LATER, {name for name in bridge.ENCODINGS if name not in ("rgb8", "bgr8", "rgba8", "bgra8")}, "ends with -6"),
    (GARBLED, set(bridge.ENCODINGS), "wrong"),
    (SWAPPED, {"rgb8"}, "all but"),
    (WORKING.replace('"yuyv": cv2.COLOR_YUV2BGR_YUY2', '"none": 0').replace('"uyvy": cv2.COLOR_YUV2BGR_UYVY', '"no": 0'),
     {"uyvy", "yuyv"}, "wrong")], ids=["aborts", "does not import", "aborts at a mosaic", "garbles padded rows", "swaps red and blue",
                                       "raises"])
def test_a_broken_one_is_not_used_and_told_once(source: str, lost: set[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                caplog: pytest.LogCaptureFixture) -> None:
    install(source, tmp_path, monkeypatch)
    with caplog.at_level(logging.WARNING):
        for encoding in bridge.ENCODINGS:
            message = padded(encoding)
            np.testing.assert_array_equal(ic.to_color(message), message.expected)
    assert bridge.usable_encodings() == set(bridge.ENCODINGS) - lost
    assert len(caplog.records) == 1 and said in caplog.text and "cv_bridge" in caplog.text


def test_all_that_goes_through_it_this_package_reads_too() -> None:
    assert set(bridge.ENCODINGS) <= set(ic.COLOR_ENCODINGS)
