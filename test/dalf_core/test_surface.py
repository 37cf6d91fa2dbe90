import numpy as np
import pytest

import dalf_core
from dalf_core.files.obj_file import save_obj
from dalf_core.surface import SurfaceError, save_ply, surface_from_depth, vertex_normals

from .analytic import CAMERA, DISTANCE, RolledSheet, turn


def test_vertices_lie_on_the_sheet_and_normals_face_the_camera():
    R = turn((1, 0.3, 0), 25)
    surface = surface_from_depth(RolledSheet(R=R).depth(), CAMERA)
    off = (surface.vertices - np.array([0, 0, DISTANCE])) @ R[:, 2]
    assert np.abs(off).max() < 1e-5
    np.testing.assert_allclose(surface.normals, np.tile(-R[:, 2], (len(surface.vertices), 1)), atol=1e-3)


def test_triangles_turn_counter_clockwise_as_the_camera_sees_them():
    surface = surface_from_depth(RolledSheet().depth(), CAMERA)
    a, b, c = (CAMERA.project(surface.vertices[surface.triangles[:, k]]) for k in range(3))
    turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (turned < 0).all()          # y points down in the image, so counter-clockwise is negative


def test_surface_is_cut_at_a_depth_jump():
    depth = np.full((240, 320), 0.7, np.float32)
    depth[:, 160:] = 0.8
    surface = surface_from_depth(depth, CAMERA)
    z = surface.vertices[surface.triangles][:, :, 2]
    assert np.ptp(z, axis=1).max() < 0.01
    assert set(np.round(np.unique(surface.vertices[:, 2]), 3)) == {np.float32(0.7), np.float32(0.8)}


def test_largest_piece_alone():
    depth = np.full((240, 320), 0.7, np.float32)
    depth[:, 100:104] = 0
    all_pieces, largest = (surface_from_depth(depth, CAMERA, pieces=pieces) for pieces in ("all", "largest"))
    assert largest.vertices[:, 0].min() > all_pieces.vertices[:, 0].min() + 0.2


def test_mask_bounds_the_surface_and_colors_are_rgb():
    mask = np.zeros((240, 320), np.uint8)
    mask[60:120, 80:200] = 255
    image = np.zeros((240, 320, 3), np.uint8)
    image[..., 0] = 200                # blue, in BGR
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, image, mask)
    xy = CAMERA.project(surface.vertices)
    assert xy[:, 0].min() >= 80 and xy[:, 0].max() < 200 and xy[:, 1].min() >= 60 and xy[:, 1].max() < 120
    assert (surface.colors == [0, 0, 200]).all()


def test_vertex_bound_is_kept():
    assert len(surface_from_depth(np.full((240, 320), 0.7, np.float32), CAMERA, max_vertices=3000).vertices) <= 3000


@pytest.mark.parametrize("depth", [np.zeros((240, 320), np.float32), np.full((240, 320), np.nan, np.float32),
                                   np.where(np.arange(240 * 320).reshape(240, 320) % 97 == 0, 0.7, 0).astype(np.float32)])
def test_depth_without_a_surface_is_said(depth):
    with pytest.raises(SurfaceError):
        surface_from_depth(depth, CAMERA)


def test_empty_mask_is_said():
    with pytest.raises(SurfaceError, match="mask is empty"):
        surface_from_depth(RolledSheet().depth(), CAMERA, mask=np.zeros((240, 320)))


def test_millimetres_are_suspected():
    with pytest.raises(SurfaceError, match="millimetres"):
        surface_from_depth(RolledSheet().depth() * 1000, CAMERA)


@pytest.mark.parametrize("depth, cause", [(np.ones((240, 320), np.uint16), "millimetres"), (np.ones((100, 100), np.float32), "camera"),
                                          (np.ones((240, 320, 3), np.float32), "single-channel")])
def test_wrong_depth_is_refused(depth, cause):
    with pytest.raises(ValueError, match=cause):
        surface_from_depth(depth, CAMERA)


def test_ply_round_trip(tmp_path, load_ply):
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    surface = surface_from_depth(RolledSheet(radius=0.3).depth(), CAMERA, image)
    save_ply(tmp_path / "a.ply", surface.vertices, surface.triangles, surface.colors, surface.normals)
    read = load_ply(tmp_path / "a.ply")
    for name in ("vertices", "normals", "triangles", "colors"):
        np.testing.assert_array_equal(getattr(read, name), getattr(surface, name))
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


@pytest.mark.parametrize("colored", [False, True])
@pytest.mark.parametrize("with_normals", [False, True])
def test_obj(tmp_path, colored, with_normals):
    """Its lines, read as the format has them; and by another program."""
    vertices = np.array([[0, 0, 1], [0.1, 0, 1], [0, 0.123456, 1.5], [-0.1, 0.2, 2]])
    triangles = np.array([[0, 2, 1], [1, 2, 3]])
    colors = np.array([[255, 0, 51], [0, 255, 0], [1, 2, 3], [9, 9, 9]], np.uint8) if colored else None
    normals = np.array([[0, 0, -1.0]] * 4) if with_normals else None
    save_obj(tmp_path / "a.obj", vertices, triangles, colors, normals)
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    positions = np.array([line[1:] for line in lines if line[0] == "v"], float)
    np.testing.assert_allclose(positions[:, :3], vertices, atol=1e-6)
    if colored:
        np.testing.assert_allclose(positions[:, 3:] * 255, colors, atol=0.02)
    assert positions.shape[1] == (6 if colored else 3) and sum(line[0] == "vn" for line in lines) == (4 if with_normals else 0)
    faces = [[corner.split("//") for corner in line[1:]] for line in lines if line[0] == "f"]
    assert [[int(corner[0]) - 1 for corner in face] for face in faces] == triangles.tolist()
    assert all(len(set(corner)) == 1 and len(corner) == (2 if with_normals else 1) for face in faces for corner in face)
    assert [p.name for p in tmp_path.iterdir()] == ["a.obj"]
    open3d = pytest.importorskip("open3d")
    mesh = open3d.io.read_triangle_mesh(str(tmp_path / "a.obj"))
    corners = np.asarray(mesh.triangles)        # it numbers the vertices anew
    np.testing.assert_allclose(np.asarray(mesh.vertices)[corners], vertices[triangles], atol=1e-6)
    if colored:
        np.testing.assert_allclose(np.asarray(mesh.vertex_colors)[corners] * 255, colors[triangles], atol=0.6)


def test_normals_of_a_cylinder():
    surface = surface_from_depth(RolledSheet(radius=0.25).depth(), CAMERA)
    axis = np.array([0, DISTANCE + 0.25])
    outward = surface.vertices[:, [0, 2]] - axis
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    got = vertex_normals(surface.vertices, surface.triangles)
    assert np.degrees(np.arccos(np.clip((got[:, [0, 2]] * outward).sum(1), -1, 1))).max() < 6


def test_normal_of_a_vertex_without_a_triangle_faces_the_camera():
    vertices = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [0, 0, 5]], np.float32)
    normals = vertex_normals(vertices, np.array([[0, 2, 1]]))
    np.testing.assert_allclose(normals, np.tile([0, 0, -1], (4, 1)), atol=1e-6)


@pytest.mark.parametrize("left_out", [(), ("colors",), ("normals",), ("colors", "normals")])
def test_a_saved_mesh_is_read_back_number_by_number(tmp_path, left_out):
    rng = np.random.default_rng(0)
    vertices, normals = rng.normal(0, 1, (2, 40, 3)).astype(np.float32)
    triangles, colors = rng.integers(0, 40, (70, 3)).astype(np.int32), rng.integers(0, 256, (40, 3)).astype(np.uint8)
    given = {name: value for name, value in (("colors", colors), ("normals", normals)) if name not in left_out}
    save_ply(tmp_path / "a.ply", vertices, triangles, **given)
    read = dalf_core.load_ply(tmp_path / "a.ply")
    assert np.array_equal(read.vertices, vertices) and np.array_equal(read.triangles, triangles)
    assert read.vertices.dtype == np.float32 and read.triangles.dtype == np.int32
    assert np.array_equal(read.normals, given.get("normals", vertex_normals(vertices, triangles)))
    assert np.array_equal(read.colors, colors) if "colors" in given else read.colors is None


@pytest.mark.parametrize("change, words", [
    (lambda data: b"solid of another kind", "no mesh that save_ply wrote"),
    (lambda data: b"", "no mesh that save_ply wrote"),
    (lambda data: data.replace(b"binary_little_endian", b"binary_big_endian"), "another layout"),
    (lambda data: data.replace(b"float x", b"double x"), "another layout"),
    (lambda data: data[:-1], "cut off"),
    (lambda data: data + b"0", "cut off, or longer"),
    (lambda data: data[:-4] + b"\x04\0\0\0", "no triangle of its 4 vertices"),
    (lambda data: data[:-13] + b"\x04" + data[-12:], "no triangle of its 4 vertices"),
])
def test_other_files_are_refused(tmp_path, change, words):
    path = tmp_path / "a.ply"
    save_ply(path, np.eye(4, 3, dtype=np.float32), np.array([[0, 1, 2], [0, 2, 3]]))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=f"a.ply is .*{words}"):
        dalf_core.load_ply(path)
