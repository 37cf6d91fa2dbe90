"""Templates: what a frame gives, the file's round trip, and files that are none."""
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save as pack

from dalf_core import PinholeCamera, Template, TemplateError, load_template, save_template
from dalf_core.surface import SurfaceError
from dalf_core.templates.template_file import template_bytes, template_of
from dalf_core.types import Features

CAMERA = PinholeCamera(200.0, 210.0, 79.5, 59.5, 160, 120)


def tilted(height: int = 120, width: int = 160) -> np.ndarray:
    """Depth of the plane z = 0.6 + 0.2 x, metres, in closed form."""
    u = (np.arange(width) * (160 / width) + (160 / width - 1) / 2 - CAMERA.cx) / CAMERA.fx
    return np.tile((0.6 / (1 - 0.2 * u)).astype(np.float32), (height, 1))


@pytest.fixture
def template() -> Template:
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[20:100, 30:130] = 255
    depth = tilted()
    depth[:5] = np.nan
    made = Template.of_frame("red cloth", image, depth, CAMERA, mask, metadata={"where": "desk"})
    rng = np.random.default_rng(1)
    features = Features(rng.uniform(30, 90, (40, 2)).astype(np.float32), np.linspace(1, .1, 40).astype(np.float32),
                        rng.normal(size=(40, 8)).astype(np.float32), (160, 120))
    return replace(made, features=features, extractor="some network", image_scale=2.0, points={"grasp": np.array([0.01, 0.02, 0.602])})


def test_the_surface_lies_where_the_depth_says(template):
    vertices = template.surface.vertices
    np.testing.assert_allclose(vertices[:, 2], 0.6 + 0.2 * vertices[:, 0], atol=1e-5)
    pixels = CAMERA.project(vertices)
    assert pixels[:, 0].min() >= 30 and pixels[:, 0].max() <= 130, "no farther than the mask"


def test_pixels_lie_on_the_surface_inside_the_mask_alone(template):
    points = template.surface_points(np.array([[80.0, 60.0], [10.0, 60.0], [80.0, 2.0]]), (160, 120))
    x, y = (80 - CAMERA.cx) / CAMERA.fx, (60 - CAMERA.cy) / CAMERA.fy
    np.testing.assert_allclose(points[0], np.array([x, y, 1]) * 0.6 / (1 - 0.2 * x), atol=1e-4)
    assert np.isnan(points[1:]).all(), "beside the mask, and without depth"
    twice = template.surface_points(np.array([[160.5, 120.5]]), (320, 240))
    np.testing.assert_allclose(twice, points[:1], atol=1e-5)


def test_a_file_gives_back_what_was_saved(template, tmp_path):
    path = tmp_path / "red.dalf"
    save_template(template, path)
    back = load_template(path)
    assert (back.name, back.extractor, back.image_scale, back.metadata, back.camera) == \
        ("red cloth", "some network", 2.0, {"where": "desk"}, CAMERA)
    for name in ("image", "mask", "depth_m"):
        np.testing.assert_array_equal(getattr(back, name), getattr(template, name), err_msg=name)
    for part, names in (("features", ("keypoints", "scores", "descriptors", "scales", "image_size")),
                        ("surface", ("vertices", "normals", "triangles", "colors"))):
        for name in names:
            np.testing.assert_array_equal(getattr(getattr(back, part), name), getattr(getattr(template, part), name), err_msg=name)
    np.testing.assert_array_equal(back.points["grasp"], [0.01, 0.02, 0.602])
    assert [entry.name for entry in tmp_path.iterdir()] == ["red.dalf"]


def test_a_picture_alone_is_a_template_too(template):
    back = template_of(template_bytes(Template.of_frame("poster", template.image)), "a message")
    assert back.surface is None and back.camera is None and back.features is None and back.mask is None
    assert np.isnan(back.surface_points(np.zeros((2, 2)), (160, 120))).all()


def test_depth_of_another_resolution(template):
    made = Template.of_frame("half", template.image, tilted(60, 80), CAMERA, template.mask)
    assert made.camera == CAMERA.scaled(80, 60)
    np.testing.assert_allclose(made.surface.vertices[:, 2], 0.6 + 0.2 * made.surface.vertices[:, 0], atol=1e-4)


def test_what_cannot_be_a_template(template):
    with pytest.raises(TemplateError, match="intrinsics"):
        Template.of_frame("a", template.image, tilted())
    with pytest.raises(TemplateError, match="uint8"):
        Template.of_frame("a", template.image.astype(float))
    with pytest.raises(SurfaceError, match="too few"):
        Template.of_frame("a", template.image, np.full((120, 160), np.nan, np.float32), CAMERA)
    for name in ("", "a/b", " a", "a\n", "x" * 101):
        with pytest.raises(TemplateError, match="name"):
            Template.of_frame(name, template.image)
    with pytest.raises(TemplateError, match=r"\.dalf"):
        save_template(template, "cloth.npz")


def described(template: Template, **changes) -> bytes:
    """A file whose description was tampered with."""
    data = template_bytes(template)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    inside = json.loads(header["__metadata__"]["template"])
    header["__metadata__"]["template"] = json.dumps({**inside, **changes})
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length:]


def arrays(template: Template, **changes) -> bytes:
    """A file of which some arrays are others, or (None) missing."""
    held = {"image": template.image, "vertices": template.surface.vertices, "normals": template.surface.normals,
            "triangles": template.surface.triangles, "depth": template.depth_m} | changes
    about = json.dumps({"name": "x", "extractor": "", "image_scale": 1, "points": [], "metadata": {}, "camera": [200, 210, 79.5, 59.5]})
    return pack({name: array for name, array in held.items() if array is not None}, {"format": "dalf template", "version": "1",
                                                                                     "template": about})


@pytest.mark.parametrize(("what", "why"), [
    (lambda t: b"", "cut off"),
    (lambda t: b"PK\x03\x04" + bytes(200), "no template"),
    (lambda t: template_bytes(t)[:-100], "cut off"),
    (lambda t: pack({"w": np.zeros(3, np.float32)}, {"format": "dalf"}), "weights"),
    (lambda t: pack({"image": t.image}, {"format": "dalf template", "version": "2", "template": "{}"}), "version 2"),
    (lambda t: pack({"image": t.image}, {"format": "dalf template", "version": "1", "template": "[]"}), "damaged"),
    (lambda t: pack({"image": t.image, "pickle": t.image}, {"format": "dalf template", "version": "1", "template": "{}"}), "pickle"),
    (lambda t: arrays(t, image=None), "no picture"),
    (lambda t: arrays(t, image=t.image[:, :, :2].copy()), "image"),
    (lambda t: arrays(t, normals=None), "lacks normals"),
    (lambda t: arrays(t, normals=t.surface.normals[:-1]), "does not fit"),
    (lambda t: arrays(t, triangles=t.surface.triangles + 1), "triangles"),
    (lambda t: arrays(t, vertices=np.full_like(t.surface.vertices, np.nan)), "NaN"),
    (lambda t: described(t, name="../../etc"), "name"),
    (lambda t: described(t, camera=[0, 0, 0, 0]), "damaged"),
    (lambda t: described(t, points=["a", "b"]), "points"),
    (lambda t: described(t, points=["a b"]), "named"),
    (lambda t: described(t, image_size=[10, 10]), "features"),
    (lambda t: described(t, image_scale="big"), "damaged"),
])
def test_files_that_are_none_are_refused(template, what, why, tmp_path):
    (tmp_path / "bad.dalf").write_bytes(what(template))
    with pytest.raises(TemplateError, match=why) as refused:
        load_template(tmp_path / "bad.dalf")
    assert "bad.dalf" in str(refused.value)
