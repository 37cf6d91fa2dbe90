"""A library of textures, the light network: known things are found turned and bent, unknown ones are none of them."""
import cv2
import numpy as np
import pytest

from dalf_core import DALF, Template, TemplateError, save_template
from dalf_core.templates.library import LEAST, Library, confidence_of

SIZE = (200, 160)


def texture(seed: int) -> np.ndarray:
    """A picture unlike that of another seed."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((5 * k, 6 * k, 3), np.float32), SIZE, interpolation=cv2.INTER_CUBIC) / k for k in (1, 2, 4)]
    return cv2.normalize(sum(layers), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """The picture turned about its centre, and bent a little."""
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    bent = cv2.remap(image, x + 4 * np.sin(y / 18), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 0.9)
    return cv2.warpAffine(bent, matrix, SIZE, borderValue=(90, 90, 90))


@pytest.fixture(scope="module")
def dalf() -> DALF:
    return DALF("light", top_k=300)


@pytest.fixture(scope="module")
def library(dalf) -> Library:
    made = Library(dalf)
    for seed in range(6):
        made.add(Template.of_frame(f"texture {seed}", texture(seed)))
    return made


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_known_things_are_recognised(library, seed):
    found = library.recognise(turned(texture(seed), 35))
    assert found.name == f"texture {seed}" and found.confidence > 0.9 and found.candidates[0].name == found.name
    assert found.candidates[0].votes > 0.25
    width, height = SIZE            # the matches are where the picture was turned to
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 35, 0.9)
    a = found.matches.points_a
    bent = a - np.stack([4 * np.sin(a[:, 1] / 18), np.zeros(len(a))], axis=1)
    off = np.linalg.norm(bent @ matrix[:, :2].T + matrix[:, 2] - found.matches.points_b, axis=1)
    assert np.median(off) < 1.0


def test_unknown_things_are_none_of_them(library):
    found = library.recognise(turned(texture(99), 20))
    assert found.name is None and found.confidence < 0.2 and len(found.candidates) == 4


def test_confidence_is_half_where_half_are_right():
    assert confidence_of(LEAST) == pytest.approx(0.5) and confidence_of(0) < 1e-6 and confidence_of(10 * LEAST) > 0.99


def test_a_folder_that_changes_while_it_is_in_use(dalf, tmp_path):
    for seed in (0, 1):
        save_template(Template.of_frame(f"texture {seed}", texture(seed)), tmp_path / f"{seed}.dalf")
    (tmp_path / "bad.dalf").write_bytes(b"none")
    library = Library(dalf)
    problems = library.read_folder(tmp_path)
    assert library.names == ["texture 0", "texture 1"] and len(problems) == 1 and "bad.dalf" in problems[0]
    (tmp_path / "bad.dalf").unlink()
    save_template(Template.of_frame("texture 2", texture(2)), tmp_path / "2.dalf")
    assert library.read_folder(tmp_path) == [] and library.names == ["texture 0", "texture 1", "texture 2"]
    assert library.recognise(turned(texture(2), 20)).name == "texture 2"
    (tmp_path / "0.dalf").unlink()
    assert library.read_folder(tmp_path) == [] and library.names == ["texture 1", "texture 2"]
    assert library.recognise(turned(texture(0), 20)).name is None
    save_template(Template.of_frame("texture 1", texture(0)), tmp_path / "1.dalf")
    save_template(Template.of_frame("texture 2", texture(7)), tmp_path / "7.dalf")
    problems = library.read_folder(tmp_path)
    assert "two templates of the name texture 2" in problems[0] and library.recognise(turned(texture(0), 20)).name == "texture 1"


def test_folders_without_templates(dalf, tmp_path):
    with pytest.raises(TemplateError, match="template make"):
        Library(dalf).read_folder(tmp_path)
    with pytest.raises(TemplateError, match="does not exist"):
        Library(dalf).read_folder(tmp_path / "none")
    (tmp_path / "a.dalf").write_bytes(b"none")
    with pytest.raises(TemplateError, match="is a file"):
        Library(dalf).read_folder(tmp_path / "a.dalf")
    assert Library(dalf).recognise(texture(0)).candidates == []
