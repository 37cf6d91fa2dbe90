"""Every notebook runs as printed, and what it finds is right; outputs are not stored."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
# Where the point of the cloth in the middle of the first image is in the second, by the simulation (as in test_examples).
TRUE_POINT_M, TRUE_PIXEL = (0.0205, 0.0143, 0.6866), (252.42, 188.36)


@pytest.fixture(scope="module")
def values() -> Iterator[Callable[..., list[Any]]]:
    """`values(name, *expressions)`: run a notebook from its folder; what the expressions are in its namespace afterwards.

    All run in one kernel, emptied before each, so that PyTorch is imported once.
    """
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from jupyter_client.manager import start_new_kernel

    manager, channels = start_new_kernel(kernel_name="python3", cwd=str(NOTEBOOKS))
    channels.stop_channels()

    def run(name: str, *expressions: str) -> list[Any]:
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        asked = nbformat.v4.new_code_cell(f"import json as _json\nprint(_json.dumps([{', '.join(expressions)}]))")
        notebook.cells = [nbformat.v4.new_code_cell("%reset -f"), *notebook.cells, asked]
        client = nbclient.NotebookClient(notebook, km=manager, timeout=300)
        client.execute(cleanup_kc=False)
        client.kc.stop_channels()
        return json.loads(asked.outputs[-1].text)

    yield run
    manager.shutdown_kernel(now=True)


def test_there_is_a_test_of_each() -> None:
    assert NAMES == {"match_two_pictures", "register_a_video", "train", "register_a_recording"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_nothing_that_a_run_leaves_is_stored(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not [cell.source for cell in code if cell.outputs or cell.execution_count is not None]
    assert not [cell.source for cell in notebook.cells if cell.metadata]
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and notebook.metadata.kernelspec.name == "python3"


def test_match_two_pictures(values) -> None:
    verified, stranger, there = values("match_two_pictures", "pair.verified", "stranger.verified", "there[0].tolist()")
    assert verified > 300 and stranger < 20
    assert there == pytest.approx(TRUE_PIXEL, abs=0.7)


def test_register_a_video(values) -> None:
    methods, median, motion = values("register_a_video", "[found.method for found in frames]", "median", "float(motion[-1])")
    assert methods == ["direct"] * 6 and motion > 20
    assert max(median) < 0.4


def test_train(values) -> None:
    pytest.importorskip("kornia")
    status, losses, scores, shape = values("train", "status", "[line['loss'] for line in steps]",
                                           "[[line['step'], line['score']] for line in validations]", "features.descriptors.shape")
    assert status == 0 and len(losses) == 12 and all(0 < abs(loss) < 100 for loss in losses)
    assert [step for step, _ in scores] == [0, 6, 12] and all(0 <= score <= 1 for _, score in scores)
    assert 0 < shape[0] <= 100 and shape[1] == 64


def test_register_a_recording(values) -> None:
    status, vertices, moved, pixel, saved = values("register_a_recording", "result.status", "len(surface.vertices)", "moved[0].tolist()",
                                                   "there[0].tolist()", "path.stat().st_size")
    assert status == "tracked" and 1000 < vertices <= 3000 and saved > 20 * vertices
    assert moved == pytest.approx(TRUE_POINT_M, abs=0.003) and pixel == pytest.approx(TRUE_PIXEL, abs=2)
