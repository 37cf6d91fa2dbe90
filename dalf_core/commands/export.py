"""`./run export --output FILE.onnx`: the whole extractor as one ONNX graph, for TensorRT or ONNX Runtime, checked against PyTorch.

Input gray (1, 1, H, W) float32 in 0 to 1; outputs keypoints (top_k, 2), scores (top_k,), -inf beyond the last keypoint, and
descriptors (top_k, D). With --size free one graph takes any number of images of any size, (B, 1, H, W), and each output begins with B.
For TensorRT in half precision: trtexec --onnx=FILE.onnx --fp16
"""
from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from pathlib import Path

from ..features.extractor import DALF
from ..features.image_input import MIN_SIDE
from ..features.network import DESCRIPTORS
from ..features.onnx_export import FREE, export_free_onnx, export_onnx
from .command_line import exit_status, program

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def image_size(text: str) -> tuple[int, int] | None:
    """640x480 as (640, 480); free as None."""
    if text == FREE:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or min(size := (int(found[1]), int(found[2]))) < MIN_SIDE:
        raise argparse.ArgumentTypeError(f"{text!r} is neither {FREE} nor a size such as 640x480, at least {MIN_SIDE}x{MIN_SIDE}")
    return size


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog=program("export"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=Path, default=Path("out/dalf.onnx"), metavar="FILE",
                   help="the .onnx file to write (default out/dalf.onnx)")
    p.add_argument("--size", type=image_size, default=(640, 480), metavar="WxH",
                   help="image size (default 640x480); free: any size and any number of images at once")
    p.add_argument("--top-k", type=int, default=2048, help="keypoints (default 2048)")
    p.add_argument("--weights", help='"official", "light" or a checkpoint file (default: as for DALF)')
    p.add_argument("--descriptor", choices=tuple(DESCRIPTORS), default="fused", help="default fused")
    p.add_argument("--threshold", type=float, help="least heatmap value (default: the one that belongs to the weights)")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 written and checked, 2 an error, 130 interrupted."""
    options = parser().parse_args(args)
    return exit_status(lambda: export(options))


def export(options: argparse.Namespace) -> int:
    """Write and check the graph."""
    if not all(importlib.util.find_spec(name) for name in PACKAGES):
        raise RuntimeError(f"the export needs more packages: pip install {' '.join(PACKAGES)}")
    dalf = DALF(options.weights, "cpu", options.top_k, threshold=options.threshold, descriptor=options.descriptor, backend="pytorch")
    size = "x".join(map(str, options.size)) if options.size else "images of any size"
    print(f"Exporting for {size}, {options.top_k} keypoints; this takes some seconds…", file=sys.stderr)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    agreement = export_onnx(options.output, dalf, *options.size) if options.size else export_free_onnx(options.output, dalf)
    print(f"Wrote {options.output} ({options.output.stat().st_size / 1e6:.1f} MB). Against PyTorch on {agreement.keypoints} keypoints: "
          f"{agreement.common:.1%} the same, worst descriptor cosine {agreement.cosine:.6f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
