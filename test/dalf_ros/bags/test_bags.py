"""Reading every kind of bag, choosing topics, joining frames by stamp, and writing."""
from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dalf_ros.bags.bag_reader import read_camera, read_frames
from dalf_ros.bags.bag_source import BagError, BagSource, BagTopic
from dalf_ros.bags.bag_topics import CAMERA_INFO, COMPRESSED, IMAGE, CameraTopics, choose_topics
from dalf_ros.bags.bag_writer import BagWriter
from dalf_ros.conversions.message_factory import bag_typestore
from dalf_ros.conversions.messages import header

RGBD = ("color", "depth", "info")


def check_frames(path: Path, scene: type, frames: int = 3, colour_error: float = 0.0) -> None:
    """The bag gives the scene's frames, pixel by pixel."""
    with BagSource(path) as source:
        topics = choose_topics(source.topics)
        lens = read_camera(source, topics)
        got = list(read_frames(source, topics))
    assert lens.camera == scene.camera and lens.is_pinhole
    assert [frame.stamp_ns for frame in got] == [scene.stamp(n) for n in range(frames)]
    for number, frame in enumerate(got):
        assert frame.frame_id == scene.frame_id and frame.problem == "" and frame.mask is None
        assert np.abs(frame.image.astype(int) - scene.image(number)).mean() <= colour_error
        np.testing.assert_allclose(frame.depth_m, scene.depth_m(), atol=1e-6)


@pytest.fixture
def messages(scene: type) -> list:
    return scene.messages(3, (scene.color, scene.depth, scene.info))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", ["none", "message", "file", "storage"])
def test_rosbag2(scene: type, messages: list, tmp_path: Path, storage: str, compression: str) -> None:
    if (storage, compression) == ("sqlite3", "storage"):
        pytest.skip("sqlite3 has no compression of its own")
    check_frames(scene.write_bag2(tmp_path / "bag", messages, storage, compression), scene)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bare_file(scene: type, messages: list, tmp_path: Path, storage: str) -> None:
    folder = scene.write_bag2(tmp_path / "bag", messages, storage)
    file = next(f for f in folder.iterdir() if f.suffix != ".yaml")
    check_frames(file, scene)
    (folder / "metadata.yaml").unlink()
    check_frames(folder, scene)


def test_bare_compressed_file(scene: type, messages: list, tmp_path: Path) -> None:
    folder = scene.write_bag2(tmp_path / "bag", messages, "mcap", "file")
    check_frames(next(folder.glob("*.zstd")), scene)


def test_ros1(scene: type, messages: list, tmp_path: Path) -> None:
    path = scene.write_bag1(tmp_path / "old.bag", messages)
    check_frames(path, scene)
    with BagSource(path) as source:        # as `play` sends them
        for raw in source.messages([scene.info]):
            message = bag_typestore().deserialize_cdr(source.cdr(raw), raw.type)
            assert message.k[0] == scene.camera.fx and message.header.frame_id == scene.frame_id


def test_compressed_images(scene: type, tmp_path: Path) -> None:
    path = scene.write_bag2(tmp_path / "bag", scene.messages(3, (scene.color + "/compressed", scene.depth, scene.info)))
    check_frames(path, scene, colour_error=6.0)


def test_zstd_images(scene: type, tmp_path: Path) -> None:
    check_frames(scene.write_bag2(tmp_path / "bag", scene.messages(3, (scene.color + "/zstd", scene.depth + "/zstd", scene.info))), scene)


def test_a_cloud_is_depth_only_where_it_is_named(scene: type, tmp_path: Path) -> None:
    with BagSource(scene.write_bag2(tmp_path / "bag", scene.messages(2, (scene.color, scene.points, scene.info)))) as source:
        assert choose_topics(source.topics).depth is None
        topics = choose_topics(source.topics, depth=scene.points)
        assert topics == CameraTopics(scene.color, scene.points, scene.info, None)
        for frame in read_frames(source, topics):
            assert frame.depth_m.shape == (144, 192, 3) and frame.depth_frame_id == scene.frame_id
            np.testing.assert_allclose(frame.depth_m[..., 2], scene.depth_m(), atol=1e-6)


def test_colour_only(scene: type, tmp_path: Path) -> None:
    with BagSource(scene.write_bag2(tmp_path / "bag", scene.messages(2, (scene.color,)))) as source:
        topics = choose_topics(source.topics)
        assert topics == CameraTopics(scene.color, None, None, None)
        assert [frame.depth_m for frame in read_frames(source, topics)] == [None, None]


def test_mask_only_when_asked(rgbd_bag: Path, scene: type) -> None:
    with BagSource(rgbd_bag) as source:
        assert choose_topics(source.topics).mask is None
        frames = list(read_frames(source, choose_topics(source.topics, mask=scene.mask)))
    assert len(frames) == 12 and frames[0].mask[72, 96] == 255 and frames[0].mask[0, 0] == 0


def test_depth_a_little_off_is_joined_and_far_off_is_not(scene: type, tmp_path: Path) -> None:
    near = scene.write_bag2(tmp_path / "near", scene.messages(4, (scene.color, scene.depth), depth_delay_ns=4_000_000))
    far = scene.write_bag2(tmp_path / "far", scene.messages(4, (scene.color, scene.depth), depth_delay_ns=40_000_000))
    for path, joined in ((near, True), (far, False)):
        with BagSource(path) as source:
            frames = list(read_frames(source, choose_topics(source.topics)))
        assert [frame.depth_m is not None for frame in frames] == [joined] * 4
        assert [bool(frame.problem) for frame in frames] == [not joined] * 4


def test_frames_come_in_stamp_order_and_none_is_lost(scene: type, tmp_path: Path) -> None:
    """All depth first, then colour in disorder: as badly written bags have it."""
    all_messages = scene.messages(6, (scene.depth, scene.color))
    depth, colour = all_messages[0::2], all_messages[1::2]
    order = depth + [colour[k] for k in (1, 0, 3, 2, 5, 4)]
    disordered = [(topic, scene.stamp(0) + i, fields) for i, (topic, _, fields) in enumerate(order)]
    with BagSource(scene.write_bag2(tmp_path / "bag", disordered)) as source:
        frames = list(read_frames(source, choose_topics(source.topics)))
    assert [frame.stamp_ns for frame in frames] == [scene.stamp(n) for n in range(6)]
    assert all(frame.depth_m is not None for frame in frames)


def test_a_clock_that_is_set_back_begins_anew(scene: type, tmp_path: Path) -> None:
    """By two seconds, in the middle: frames come in the order of the recording, each with its own depth."""
    all_messages = scene.messages(12, (scene.color, scene.depth))
    for number in range(6, 12):
        for _, _, fields in all_messages[2 * number: 2 * number + 2]:
            fields["header"] = header(scene.stamp(number) - 2_000_000_000, scene.frame_id)
    with BagSource(scene.write_bag2(tmp_path / "bag", all_messages)) as source:
        frames = list(read_frames(source, choose_topics(source.topics)))
    assert [frame.stamp_ns for frame in frames] == [scene.stamp(n) - 2_000_000_000 * (n >= 6) for n in range(12)]
    assert all(frame.depth_m is not None for frame in frames)


def test_missing_depth_frames_leave_gaps(scene: type, tmp_path: Path) -> None:
    kept = [m for i, m in enumerate(scene.messages(6, (scene.color, scene.depth))) if i not in (3, 7)]
    with BagSource(scene.write_bag2(tmp_path / "bag", kept)) as source:
        frames = list(read_frames(source, choose_topics(source.topics)))
    assert [frame.depth_m is not None for frame in frames] == [True, False, True, False, True, True]


# ---------------------------------------------------------------- choosing topics

def topics_of(*names: str) -> dict[str, BagTopic]:
    """Topics by name; the type follows from it."""
    kind = {True: CAMERA_INFO, False: IMAGE}
    return {n: BagTopic(n, COMPRESSED if n.endswith("compressed") else kind["camera_info" in n], 10) for n in names}


@pytest.mark.parametrize(("names", "expected"), [
    (["/camera/color/image_raw", "/camera/depth/image_rect_raw", "/camera/aligned_depth_to_color/image_raw", "/camera/color/camera_info",
      "/camera/depth/camera_info", "/camera/aligned_depth_to_color/camera_info"],
     ("/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw", "/camera/color/camera_info")),
    (["/rgb/image_raw", "/depth_to_rgb/image_raw", "/rgb/camera_info", "/depth_to_rgb/camera_info", "/ir/image_raw", "/ir/camera_info"],
     ("/rgb/image_raw", "/depth_to_rgb/image_raw", "/rgb/camera_info")),
    (["/zed/zed_node/rgb/image_rect_color", "/zed/zed_node/depth/depth_registered", "/zed/zed_node/rgb/camera_info",
      "/zed/zed_node/depth/camera_info"],
     ("/zed/zed_node/rgb/image_rect_color", "/zed/zed_node/depth/depth_registered", "/zed/zed_node/rgb/camera_info")),
    (["/camera/rgb/image_color", "/camera/depth_registered/image_raw", "/camera/rgb/camera_info", "/camera/infra1/image_rect_raw"],
     ("/camera/rgb/image_color", "/camera/depth_registered/image_raw", "/camera/rgb/camera_info")),
    (["/usb_cam/image_raw"], ("/usb_cam/image_raw", None, None)),
    (["/camera/color/image_raw/compressed", "/camera/object_mask"], ("/camera/color/image_raw/compressed", None, None)),
    (["/camera/color/image_raw", "/camera/color/image_raw/compressed"], ("/camera/color/image_raw", None, None)),
    (["/image", "/depth", "/camera_info"], ("/image", "/depth", "/camera_info")),
])
def test_camera_families(names: list[str], expected: tuple) -> None:
    chosen = choose_topics(topics_of(*names))
    assert (chosen.color, chosen.depth, chosen.camera_info) == expected


def test_two_cameras_ask_for_a_choice() -> None:
    topics = topics_of("/front/color/image_raw", "/side/color/image_raw")
    with pytest.raises(BagError, match=r"more than one colour topic.*--color-topic(.|\n)*/side/color/image_raw  \[sensor_msgs/msg/Image\]"):
        choose_topics(topics)
    assert choose_topics(topics, color="/side/color/image_raw").color == "/side/color/image_raw"


@pytest.mark.parametrize("option", ["color", "depth", "camera_info", "mask"])
def test_named_topic_that_is_missing_or_wrong(option: str) -> None:
    topics = topics_of("/color/image_raw", "/depth/image_raw", "/color/camera_info")
    with pytest.raises(BagError, match=r"no such topic(.|\n)*10  /depth/image_raw"):
        choose_topics(topics, **{option: "/nowhere"})
    wrong = "/color/image_raw" if option == "camera_info" else "/color/camera_info"
    with pytest.raises(BagError, match="expected"):
        choose_topics(topics, **{option: wrong})


# ---------------------------------------------------------------- what goes wrong

def test_no_camera_info_names_the_options(scene: type, tmp_path: Path) -> None:
    path = scene.write_bag2(tmp_path / "bag", scene.messages(1, (scene.color, scene.depth)))
    with BagSource(path) as source, pytest.raises(BagError, match=r"--camera-info-topic.*--intrinsics"):
        read_camera(source, choose_topics(source.topics))


@pytest.mark.parametrize("part", [0.7, 0.9, 0.999])
def test_cut_off_mcap_is_read_as_far_as_it_goes(bag_copy: Path, scene: type, part: float) -> None:
    file = next(bag_copy.glob("*.mcap"))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    for path in (bag_copy, file):
        with BagSource(path) as source:
            assert "cut off" in source.damaged
            topics = choose_topics(source.topics)
            frames = list(read_frames(source, topics))
            assert "cut off" in source.damaged
        assert 0 < len(frames) <= 12
        np.testing.assert_array_equal(frames[0].image, scene.image(0))


def test_mcap_cut_at_every_place_never_gives_rubbish(scene: type, messages: list, tmp_path: Path) -> None:
    file = next(scene.write_bag2(tmp_path / "bag", messages).glob("*.mcap"))
    whole = file.read_bytes()
    cut = tmp_path / "cut.mcap"
    for size in np.linspace(1, len(whole) - 1, 40).astype(int):
        cut.write_bytes(whole[:size])
        try:
            with BagSource(cut) as source:
                for raw in source.messages():
                    source.deserialize(raw)
        except BagError as error:
            assert str(cut) in str(error)


def test_what_is_no_bag(tmp_path: Path) -> None:
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "rubbish.mcap").write_bytes(b"no recording at all, only words")
    (tmp_path / "rubbish.db3").write_bytes(b"no recording at all, only words")
    (tmp_path / "rubbish.bag").write_bytes(b"no recording at all, only words")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    cases = {"missing.mcap": "does not exist", "empty.mcap": "0 bytes", "rubbish.mcap": "cannot be read", "rubbish.db3": "cannot be read",
             "rubbish.bag": "cannot be read", "notes.txt": "is not a bag", "folder": "neither metadata.yaml"}
    for name, words in cases.items():
        with pytest.raises(BagError, match=words) as caught, BagSource(tmp_path / name) as source:
            list(source.messages())
        assert "\n" not in str(caught.value)


def test_metadata_naming_a_missing_file(bag_copy: Path) -> None:
    next(bag_copy.glob("*.mcap")).unlink()
    with pytest.raises(BagError, match="missing"), BagSource(bag_copy):
        pass


def test_real_recordings(data_folder: Path) -> None:
    with BagSource(data_folder / "bags" / "foam_and_plush") as source:
        topics = choose_topics(source.topics)
        assert topics == CameraTopics("/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw",
                                      "/camera/color/camera_info", None)
        frames = read_frames(source, topics)
        stamps = [(frame.stamp_ns, frame.problem) for frame in frames]
    assert len(stamps) == 360 and stamps == sorted(stamps) and not any(problem for _, problem in stamps)
    with BagSource(data_folder / "bags" / "printed_bag_color_only") as source:
        topics = choose_topics(source.topics)
        assert topics.color == "/camera/color/image_raw/compressed" and topics.depth is None


# ---------------------------------------------------------------- writing

def status_fields(number: int) -> dict:
    return {"header": header(number * 100_000_000, "cam"), "status": 1, "reason": f"number {number}"}


def write_statuses(path: Path, count: int) -> BagWriter:
    with BagWriter(path) as writer:
        for number in range(count):
            writer.write_results([("status", status_fields(number))], number * 100_000_000)
    return writer


def test_written_bags_are_read_by_rosbags_and_by_mcap(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    write_statuses(tmp_path / "out", 5)
    assert (tmp_path / "out" / "metadata.yaml").is_file()
    with BagSource(tmp_path / "out") as source:
        assert source.damaged is None
        assert [source.deserialize(raw).reason for raw in source.messages()] == [f"number {n}" for n in range(5)]
    with (tmp_path / "out" / "out.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        schema = next(iter(summary.schemas.values()))
        assert (schema.name, schema.encoding) == ("dalf/msg/RegistrationStatus", "ros2msg")
        assert b"residual_m" in schema.data and b"MSG: std_msgs/Header" in schema.data
        assert len(list(reader.iter_messages())) == 5


def test_a_bag_is_whole_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / "out") as writer:
        writer.write_results([("status", status_fields(1))], 1)
        raise KeyboardInterrupt
    with BagSource(tmp_path / "out") as source:
        assert source.damaged is None and len(list(source.messages())) == 1


def test_latched_topics_stay_latched(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out") as writer:
        writer.write("/surface/reference", "dalf/msg/SurfaceMesh", 1, {}, latched=True)
        writer.write("/status", "dalf/msg/RegistrationStatus", 1, {})
    with BagSource(tmp_path / "out") as source:
        assert source.is_latched("/surface/reference") and not source.is_latched("/status")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BagError, match="exists already"):
        BagWriter(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(BagError, match="cannot be written"), BagWriter(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize(("color", "expected"), [("/camera/color/image_raw", "plumb_bob"), ("/camera/color/image_rect_color", "pinhole")])
def test_lens_distortion(scene: type, tmp_path: Path, color: str, expected: str) -> None:
    """camera_info of the raw image beside a rectified one: P holds, without distortion."""
    from dalf_ros.bags.bag_topics import CameraTopics
    from dalf_ros.conversions.messages import camera_info, header

    fields = camera_info(scene.camera, header(scene.stamp(0), scene.frame_id), "plumb_bob", (-0.2, 0.1, 0, 0, 0))
    with BagSource(scene.write_bag2(tmp_path / "bag", [(scene.info, scene.stamp(0), fields)])) as source:
        lens = read_camera(source, CameraTopics(color, "/depth/image_raw", scene.info, None))
    assert lens.model == expected and lens.camera == scene.camera
