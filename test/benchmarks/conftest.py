"""The benchmarks are programs, no package: their folders go on the path."""
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "templates"), str(BENCHMARKS / "recordings")]
