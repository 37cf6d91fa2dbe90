"""What is named to recordings, and the names that these get."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from dalf_ros.many.sources import SourceError, find_sources, name_all, shown, stem


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Recordings of all kinds (empty files: nothing is read yet), and what is none."""
    names = ["bag/metadata.yaml", "bag/bag_0.mcap", "pictures/color/0.png", "pictures/depth/0.png", "beside/frame-1.color.png",
             "deep/er/monday.bag", "deep/er/notes.txt", "loose_1.mcap", "loose_2.db3.zstd", ".hidden/x.mcap",
             "run/metrics.json", "run/results/metadata.yaml", "out/runs/bag/results/metadata.yaml"]
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"12345")
    return tmp_path / "data"


def found(words: list[object], data: Path, leave_out: str = "out") -> list[str]:
    return [str(Path(source.address).relative_to(data)) for source in find_sources(map(str, words), data / leave_out)]


def test_a_folder_of_recordings(data: Path) -> None:
    """Neither results, nor what is within a recording."""
    assert found([data], data) == ["bag", "beside", "deep/er/monday.bag", "loose_1.mcap", "loose_2.db3.zstd", "pictures"]


def test_a_recording_that_is_named(data: Path) -> None:
    assert found([data / "bag", data / "pictures", data / "deep/er/monday.bag", data / "bag/bag_0.mcap", data / "bag"], data) == [
        "bag", "pictures", "deep/er/monday.bag", "bag/bag_0.mcap"]
    assert found([data / "not_there.mcap"], data) == ["not_there.mcap"]        # it may be done already
    bag, missing = find_sources([str(data / "bag"), str(data / "no.bag")], data / "out")
    assert (bag.size, missing.size) == (10, None)


def test_globs_and_addresses_of_files(data: Path) -> None:
    assert found([data / "loose_*"], data) == ["loose_1.mcap", "loose_2.db3.zstd"]
    assert found([data / "**/*.bag"], data) == ["deep/er/monday.bag"]
    assert found([f"file://{data}/loose_1.mcap"], data) == ["loose_1.mcap"]
    (data / "odd[1].mcap").touch()
    assert found([data / "odd[1].mcap"], data) == ["odd[1].mcap"]


def test_a_list_starts_at_its_own_folder(data: Path) -> None:
    (data / "deep" / "list.txt").write_text(f"# Monday's\n\ner/monday.bag\n  ../bag \n{data}/loose_*\nmemory://some/where.bag\n")
    sources = find_sources([f"@{data}/deep/list.txt"], data / "out")
    assert [source.address.removeprefix(f"{data}/") for source in sources] == [
        "deep/er/monday.bag", "bag", "loose_1.mcap", "loose_2.db3.zstd", "memory://some/where.bag"]


@pytest.mark.parametrize(("word", "message"), [
    ("no_such_*.bag", "nothing matches no_such_"), ("@no_list.txt", "the list no_list.txt cannot be read"),
    ("memory://nothing/*.bag", "nothing matches memory://"), ("empty", "there is no recording in empty"),
    ("s3x://bucket/a.bag", "s3x://bucket/a.bag cannot be reached"), ("@empty.txt", "names no recording")])
def test_what_cannot_be_found_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(SourceError, match=re.escape(message)):
        find_sources([word], tmp_path / "out")


def test_addresses(tmp_path: Path) -> None:
    """fsspec's file system in memory stands for all that are elsewhere."""
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for name in ("/far/a.bag", "/far/b/metadata.yaml", "/far/b/b_0.mcap", "/far/c/color/1.png", "/far/readme.txt"):
        files.pipe_file(name, b"x")
    try:
        below = ["memory://far/a.bag", "memory://far/b", "memory://far/c"]
        assert [source.address for source in find_sources(["memory://far"], tmp_path)] == below
        assert [source.address for source in find_sources(["memory://far/*"], tmp_path)] == [*below, "memory://far/readme.txt"]
        assert [source.address for source in find_sources(["memory://far/a.bag"], tmp_path)] == below[:1]
    finally:
        files.rm("/far", recursive=True)


def test_passwords_are_not_told() -> None:
    assert shown("sftp://me:secret@host/a.bag") == "sftp://host/a.bag"
    assert shown("s3://bucket/a@b.bag") == "s3://bucket/a@b.bag" and shown("/data/me@home/a.bag") == "/data/me@home/a.bag"


@pytest.mark.parametrize(("address", "name"), [
    ("/data/2026.11.29_cloth", "2026.11.29_cloth"), ("/data/a.mcap.zstd", "a"), ("https://host/x/b.bag?version=1/2", "b"),
    ("s3://bucket/c.db3", "c"), ("s3://bucket/folder/", "folder"), ("/data/.d.bag", "d")])
def test_what_a_recording_is_called(address: str, name: str) -> None:
    assert stem(address) == name


def test_no_two_have_one_name() -> None:
    addresses = ["/lab/monday/cloth.bag", "/lab/tuesday/cloth.bag", "/lab/foam.bag", "s3://lab/monday/cloth.bag"]
    names = name_all(addresses, {})
    assert list(names.values()) == ["monday-cloth", "tuesday-cloth", "foam", "lab-monday-cloth"]
    later = name_all([*addresses, "/x/foam.bag", "/lab/monday/cloth.mcap"], names)
    assert {address: later[address] for address in addresses} == names          # a name that was given stays
    assert name_all(addresses, {addresses[0]: "monday-cloth"}) == names         # in whatever order they are done
    assert later["/x/foam.bag"] == "x-foam" and len(set(later.values())) == 6
    assert list(name_all(["/a/b.bag", "/a/b.mcap", "/a/b"], {}).values()) == ["a-b", "a-b-2", "a-b-3"]
