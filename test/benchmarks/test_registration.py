"""The benchmark of registration from end to end, with what every installation has."""
from pathlib import Path

import cv2
import numpy as np
import pytest

registration = pytest.importorskip("registration")
methods = pytest.importorskip("registration_methods")


def cells(printed: str, start: str) -> list[str]:
    """Of the table row that begins with this cell."""
    return next([cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith(f"| {start} "))


def test_measures_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    asked = ["--methods", "ours,rigid", "--levels", "small", "--seeds", "1", "--frames", "3", "--nodes", "100"]
    assert registration.main([*asked, "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    rmse = {name: float(cells(printed, name)[2].split("/")[0]) for name in ("ours", "best rigid fit")}
    assert rmse["ours"] < 1.2 and rmse["best rigid fit"] > 4
    assert "1 tracked" in cells(printed, "small")[-1]
    tracking = printed.rstrip().splitlines()[-1].split("|")
    assert 90 <= int(tracking[1]) <= 110 and tracking[-2].strip() == "3 tracked"
    assert cv2.imread(str(picture)).std() > 20


@pytest.mark.parametrize("asked", [["--methods", "theirs"], ["--seeds", "0"], ["--frames", "1"], ["--picture", "nowhere/out.png"]])
def test_wrong_arguments_are_one_line(asked: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        registration.main(asked)
    assert stopped.value.code == 2 and f"error: argument {asked[0]}" in capsys.readouterr().err.replace("error: --", "error: argument --")


def test_a_peer_that_is_not_there_says_what_to_install() -> None:
    absent = methods.Method("Someone's", "raw", methods.ours, ("no_such_package",), "no-such-package")
    assert absent.missing() == "Someone's is left out: pip install no-such-package"
    assert methods.METHODS["ours"].missing() is None


def test_a_device_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def absent(device: str) -> None:
        if device != "cpu":
            raise RuntimeError("no such device")

    monkeypatch.setattr(registration, "solver_on", absent)
    asked = ["--sections", "tracking", "--frames", "2", "--nodes", "50", "--devices", "cuda"]
    assert registration.main([*asked[:-1], "cuda,cpu"]) == 0
    printed = capsys.readouterr()
    assert "cuda is left out: no such device" in printed.err and printed.out.rstrip().splitlines()[-1].split("|")[4].strip() == "cpu"
    assert registration.main(asked) == 0 and capsys.readouterr().out == ""


def test_rigid_fit_is_recovered() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 3))
    motion = np.eye(4)
    motion[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    motion[:3, :3] *= np.sign(np.linalg.det(motion[:3, :3]))
    motion[:3, 3] = 1, 2, 3
    np.testing.assert_allclose(methods.kabsch(points, points @ motion[:3, :3].T + motion[:3, 3]), motion, atol=1e-12)


@pytest.mark.parametrize("nodes", [100, 450, 2000])
def test_spacing_gives_the_nodes_asked_for(nodes: int) -> None:
    task = registration.make_task("small", 0)
    graph = registration.build_graph(task.reference, registration.spacing_for(nodes, task))
    assert len(graph) == pytest.approx(nodes, rel=0.03)
