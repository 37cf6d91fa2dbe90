"""What metrics.json tells of the run itself."""
from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

from dalf_core.weights import BUILT_IN
from dalf_ros.offline.run_origin import origin, told_options
from dalf_ros.register import parser


def test_every_option_is_told_as_json() -> None:
    given = parser().parse_args(["a/bag", "--output", "out", "--intrinsics", "1,2,3,4", "--depth-to-color", "0.1,0,0,0,0,0,1"])
    told = json.loads(json.dumps(told_options(given)))
    assert set(told) == set(vars(given)) and told["recording"] == "a/bag" and told["intrinsics"] == [1, 2, 3, 4]
    assert told["depth_to_color"] == {"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0.1, 0, 0]}
    assert told["tolerance"] == 0.02 and told["max_frames"] is None


def test_what_the_options_meant_is_told() -> None:
    told = origin(SimpleNamespace(weights=str(BUILT_IN), device="cpu", backend="pytorch", precision="float32"))
    assert told["weights_sha256"] == hashlib.sha256(BUILT_IN.read_bytes()).hexdigest()
    assert told["version"].count(".") == 2 and (told["device"], told["backend"], told["precision"]) == ("cpu", "pytorch", "float32")
    assert origin(SimpleNamespace(weights="gone.pth", device="cpu", backend="x", precision="float32"))["weights_sha256"] is None
