"""Bags as crashes leave them, and with channels of others."""
from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dalf_ros.bags.bag_reader import read_frames
from dalf_ros.bags.bag_source import BagError, BagSource
from dalf_ros.bags.bag_topics import choose_topics
from dalf_ros.conversions.message_factory import bag_message, bag_typestore

MESSAGE = "sensor_msgs/msg/Image"


def numbers(path: Path, scene: type) -> list[int]:
    """The frame numbers of the colour images in a bag, in order; pixels, depth and camera are checked."""
    with BagSource(path) as source:
        frames = list(read_frames(source, choose_topics(source.topics)))
    found = [round((frame.stamp_ns - scene.stamp(0)) / scene.period_ns) for frame in frames]
    for number, frame in zip(found, frames):
        np.testing.assert_array_equal(frame.image, scene.image(number))
        if frame.depth_m is not None or frame is not frames[-1]:       # what is cut off may lack the last one
            np.testing.assert_allclose(frame.depth_m, scene.depth_m(), atol=1e-6)
    return found


def damage(path: Path) -> str | None:
    """What a bag says after it was read."""
    with BagSource(path) as source:
        list(source.messages())
        return source.damaged


@pytest.fixture
def parts(scene: type, tmp_path: Path) -> Callable[..., Path]:
    """`parts(storage, compression, count)`: a recording in files of one frame each, without metadata.yaml."""
    def make(storage: str = "mcap", compression: str = "none", count: int = 12) -> Path:
        messages = scene.messages(count, (scene.color, scene.depth, scene.info))
        folder = tmp_path / "split"
        folder.mkdir()
        for number in range(count):
            made = scene.write_bag2(tmp_path / "part", messages[3 * number: 3 * number + 3], storage, compression)
            file = next(f for f in made.iterdir() if f.name != "metadata.yaml")
            shutil.move(file, folder / f"split_{number}{file.name.removeprefix('part')}")
            shutil.rmtree(made)
        return folder

    return make


@pytest.mark.parametrize(("storage", "compression"), [
    ("mcap", "none"), ("mcap", "storage"), ("mcap", "message"), ("mcap", "file"),
    ("sqlite3", "none"), ("sqlite3", "message"), ("sqlite3", "file"),
])
def test_split_recording_without_metadata(parts: Callable, scene: type, storage: str, compression: str) -> None:
    """Twelve files: 10 and 11 come after 9, not after 1."""
    folder = parts(storage, compression)
    assert numbers(folder, scene) == list(range(12)) and damage(folder) is None


def test_split_recording_whose_last_file_is_cut_off(parts: Callable, scene: type) -> None:
    folder = parts(count=4)
    last = folder / "split_3.mcap"
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) - 20])
    assert numbers(folder, scene) == [0, 1, 2, 3]
    assert damage(folder).count("split_3.mcap is cut off") == 1
    last.write_bytes(whole[:50])
    assert numbers(folder, scene) == [0, 1, 2]
    assert "nothing of the last file is readable" in damage(folder) and "split_3.mcap" in damage(folder)


def test_packing_that_was_interrupted(parts: Callable, scene: type) -> None:
    """The last files: one that is not packed yet, and one beside its unfinished packed copy."""
    folder = parts("sqlite3", "file", 3)
    packed = (folder / "split_2.db3.zstd").read_bytes()
    import zstandard

    (folder / "split_2.db3").write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(packed))
    (folder / "split_2.db3.zstd").write_bytes(packed[:100])
    assert numbers(folder, scene) == [0, 1, 2]


def test_recordings_that_do_not_belong_together_are_not_joined(parts: Callable) -> None:
    folder = parts(count=2)
    (folder / "split_1.mcap").rename(folder / "other_1.mcap")
    with pytest.raises(BagError, match=r"several recordings \(other_1.mcap, split_0.mcap\); name one of them"), BagSource(folder):
        pass


@pytest.mark.parametrize(("before", "after"), [
    ("storage_identifier: mcap", "storage_identifier: ''"), ("version: 9", "version: 11"),
    ("compression_mode: ''", "compression_mode: NONE"), ("durability: volatile", "durability: transient_local"), ("depth: 5", "depth: 77"),
])
def test_metadata_that_says_something_else(before: str, after: str, scene: type, tmp_path: Path) -> None:
    """An empty storage identifier, a version to come, and QoS profiles other than those in the file, as `ros2 bag reindex` leaves them."""
    from dalf_ros.bags.bag_writer import BagWriter

    with BagWriter(tmp_path / "bag") as writer:
        for topic, time_ns, fields in scene.messages(3, (scene.color, scene.depth, scene.info)):
            writer.write(topic, MESSAGE if "image" in topic else "sensor_msgs/msg/CameraInfo", time_ns, fields)
    metadata = tmp_path / "bag" / "metadata.yaml"
    text = metadata.read_text()
    assert before in text or before.startswith("compression_mode")
    metadata.write_text(text.replace(before, after))
    assert numbers(tmp_path / "bag", scene) == [0, 1, 2] and damage(tmp_path / "bag") is None


def test_metadata_that_was_not_written_to_its_end(parts: Callable, scene: type) -> None:
    folder = parts(count=3)
    for text in ("", "rosbag2_bagfile_information:\n  version: 9\n  storage_id"):
        (folder / "metadata.yaml").write_text(text)
        assert numbers(folder, scene) == [0, 1, 2]
        assert "metadata.yaml cannot be read" in damage(folder)


def test_files_that_metadata_does_not_name_yet(parts: Callable, scene: type) -> None:
    folder = parts(count=3)
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information:\n  relative_file_paths: [split_0.mcap, split_1.mcap]\n")
    assert numbers(folder, scene) == [0, 1, 2] and "does not name split_2.mcap" in damage(folder)


# ---------------------------------------------------------------- channels of others

def write_mixed(path: Path, scene: type, *, foreign: tuple[str, ...] = ("protobuf", "json", "ros1"), ours: bool = True,
                profile: str = "ros2", **options: bool) -> Path:
    """An mcap file as a bridge writes it: our messages, recorded in reverse, beside channels of other encodings."""
    from mcap.writer import Writer

    store = bag_typestore()
    with path.open("wb") as stream:
        writer = Writer(stream, **options)
        writer.start(profile=profile, library="test")
        schema = {"protobuf": ("foxglove.CompressedVideo", "protobuf", b"\xff\xfe\x00binary"), "json": ("log", "jsonschema", b"{}"),
                  "ros1": ("std_msgs/String", "ros1msg", b"string data")}
        for name in foreign:
            channel = writer.register_channel(f"/of_{name}", name, writer.register_schema(*schema[name]))
            writer.add_message(channel, scene.stamp(0), b"\x01\x02\x03", scene.stamp(0))
        for topic, time_ns, fields in reversed(scene.messages(3, (scene.color, scene.depth, scene.info))) if ours else ():
            kind = MESSAGE if "image" in topic else "sensor_msgs/msg/CameraInfo"
            definition = store.generate_msgdef(kind, ros_version=2)[0].encode()
            channel = writer.register_channel(topic, "cdr", writer.register_schema(kind, "ros2msg", definition))
            writer.add_message(channel, time_ns, bytes(store.serialize_cdr(bag_message(kind, fields), kind)), time_ns)
        writer.finish()
    return path


def test_channels_of_others_are_left_out_and_told_once(scene: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_mixed(tmp_path / "mixed.mcap", scene)
    with caplog.at_level(logging.WARNING), BagSource(path) as source:
        assert set(source.topics) == {scene.color, scene.depth, scene.info} and source.damaged is None
        assert len(list(source.messages())) == 9
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 3 channels are not in ROS 2's encoding (cdr) but json, protobuf, ros1: /of_json, /of_protobuf, /of_ros1 are left out"]
    assert numbers(path, scene) == [0, 1, 2]


def test_nothing_but_channels_of_others(scene: type, tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"holds no topics of ROS 2; 1 channels .* ros1: /of_ros1"), \
            BagSource(write_mixed(tmp_path / "alien.mcap", scene, foreign=("ros1",), ours=False)):
        pass


@pytest.mark.parametrize("options", [
    {"profile": ""}, {"use_chunking": False}, {"use_statistics": False}, {"use_summary_offsets": False}, {"repeat_channels": False},
], ids=str)
def test_mcap_files_of_other_writers(options: dict, scene: type, tmp_path: Path) -> None:
    """Without a profile, without chunks (and so without an index, here in disorder), without statistics."""
    assert numbers(write_mixed(tmp_path / "other.mcap", scene, **options), scene) == [0, 1, 2]


def test_a_type_that_cannot_be_read_spoils_its_topic_alone(scene: type, tmp_path: Path) -> None:
    from mcap.writer import Writer

    path = write_mixed(tmp_path / "mixed.mcap", scene, foreign=())
    with BagSource(path) as source:
        stored = [(raw, source.topics[raw.topic]) for raw in source.messages()]
    store = bag_typestore()
    with (tmp_path / "odd.mcap").open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        odd = writer.register_channel("/odd", "cdr", writer.register_schema("odd_msgs/msg/Odd", "ros2msg", b"?! no definition"))
        writer.add_message(odd, scene.stamp(0), bytes(8), scene.stamp(0))
        for raw, topic in stored:
            schema = writer.register_schema(topic.type, "ros2msg", store.generate_msgdef(topic.type, ros_version=2)[0].encode())
            writer.add_message(writer.register_channel(raw.topic, "cdr", schema), raw.time_ns, raw.data, raw.time_ns)
        writer.finish()
    assert numbers(tmp_path / "odd.mcap", scene) == [0, 1, 2]
    with BagSource(tmp_path / "odd.mcap") as source, pytest.raises(BagError, match="/odd is not a readable odd_msgs/msg/Odd"):
        source.deserialize(next(source.messages(["/odd"])))


# ---------------------------------------------------------------- sqlite3

def test_messages_that_still_lie_in_the_journal(scene: type, tmp_path: Path) -> None:
    """A recorder that was killed leaves its last messages in the write-ahead log."""
    folder = scene.write_bag2(tmp_path / "bag", scene.messages(3, (scene.color, scene.depth, scene.info)), "sqlite3")
    file = folder / "bag.db3"
    database = sqlite3.connect(file)
    rows = database.execute("SELECT * FROM messages ORDER BY id").fetchall()
    database.execute("DELETE FROM messages WHERE id > 3")
    database.commit()
    database.execute("PRAGMA journal_mode=WAL")
    database.executemany(f"INSERT INTO messages VALUES ({','.join('?' * len(rows[0]))})", rows[3:])
    database.commit()
    left = tmp_path / "left"
    shutil.copytree(folder, left)       # as the killed process leaves it: closing would empty the log
    database.close()
    assert (left / "bag.db3-wal").stat().st_size > 0
    before = {path.name: path.read_bytes() for path in left.iterdir()}
    assert numbers(left, scene) == [0, 1, 2]
    assert {path.name: path.read_bytes() for path in left.iterdir()} == before


@pytest.mark.parametrize("part", [0.5, 0.75, 0.95])
def test_cut_off_db3_is_read_as_far_as_it_goes(scene: type, tmp_path: Path, part: float) -> None:
    folder = scene.write_bag2(tmp_path / "bag", scene.messages(12, (scene.color, scene.depth, scene.info)), "sqlite3")
    file = folder / "bag.db3"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    for path in (folder, file):
        found = numbers(path, scene)
        assert found == list(range(len(found))) and 12 * part - 2 <= len(found) <= 12
        assert "bag.db3 is" in damage(path)


def test_db3_of_an_old_recorder(scene: type, tmp_path: Path) -> None:
    """Without QoS profiles, without definitions, and with a channel of another serialisation."""
    folder = scene.write_bag2(tmp_path / "bag", scene.messages(3, (scene.color, scene.depth, scene.info)), "sqlite3")
    with sqlite3.connect(folder / "bag.db3") as database:
        for column in ("offered_qos_profiles", "type_description_hash"):
            database.execute(f"ALTER TABLE topics DROP COLUMN {column}")
        database.execute("DROP TABLE message_definitions")
        database.execute("DROP TABLE schema")
        database.execute("INSERT INTO topics VALUES (99, '/protobuf', 'other/Type', 'protobuf')")
    (folder / "metadata.yaml").unlink()
    assert numbers(folder, scene) == [0, 1, 2]
