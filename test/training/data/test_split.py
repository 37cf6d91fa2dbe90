"""Which photos are kept for evaluation: by name, and with a table of sources by source."""
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from dalf_training.data.photo_cache import open_photos
from dalf_training.data.photos import TABLE, Split, find_photos, held_out, read_sources
from dalf_training.evaluation.benchmark import benchmark_photos

NAMES = [f"photo_{index:05}.webp" for index in range(5000)]
KEPT, TRAINED = ([name for name in NAMES if held_out(name) == kept] for kept in (True, False))


def table(folder: Path, *rows: str, header: str = "file\tlicence\tsource") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / TABLE
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_held_out_is_one_in_ten_by_name_alone() -> None:
    share = np.mean([held_out(name) for name in NAMES])
    assert 0.085 < share < 0.115
    assert all(held_out(Path("/some/where") / name) == held_out(name) for name in NAMES[:100])
    # the rule may never change: weights trained under another one have seen the photos kept for evaluation
    assert [index for index, name in enumerate(NAMES[:40]) if held_out(name)] == [0, 21, 38]


def test_a_source_is_kept_only_if_all_its_files_are(tmp_path: Path) -> None:
    """Cuts of one picture stay together, on the side of training unless each name says otherwise."""
    a, b, c, d = KEPT[:4]
    table(tmp_path, f"{a}\t?\tone cut kept, one trained", f"{TRAINED[0]}\t?\tone cut kept, one trained", f"{b}\t?\ttwo kept", "",
          f"{c}\t?\ttwo kept", f"more/{d}\t?\ta \"quoted\" source's photo", f"{TRAINED[1]}\t?\ttrained")
    split = Split(tmp_path)
    judged = {name: split.holds_out(tmp_path / name) for name in (a, TRAINED[0], b, c, f"more/{d}", TRAINED[1])}
    assert judged == {a: False, TRAINED[0]: False, b: True, c: True, f"more/{d}": True, TRAINED[1]: False}
    others = [tmp_path / KEPT[5], tmp_path / TRAINED[5], tmp_path / d]            # d is listed in another folder
    assert [split.holds_out(path) for path in others] == [True, False, True] and split.unlisted(others) == others
    assert split.unlisted([tmp_path / a]) == []


def test_files_that_are_not_on_disk_count(tmp_path: Path) -> None:
    """Else a part of the folder would be parted in another way than the whole, and a photo trained on could be kept."""
    table(tmp_path, f"{KEPT[0]}\t?\tone", f"{TRAINED[0]}\t?\tone")
    (tmp_path / KEPT[0]).touch()
    assert not Split(tmp_path).holds_out(tmp_path / KEPT[0])


def test_without_a_table_the_name_decides(tmp_path: Path) -> None:
    split = Split(tmp_path)
    assert all(split.holds_out(tmp_path / "sub" / name) == held_out(name) for name in NAMES[:300])
    assert split.unlisted([tmp_path / NAMES[0]]) == []


def test_tables_of_the_folders_below_count(tmp_path: Path) -> None:
    """Given the folder above, the photos are parted as before; a source is one of its own table."""
    for folder, other in (("a", TRAINED[0]), ("b", KEPT[1])):
        table(tmp_path / folder, f"{KEPT[0]}\t?\t1", f"{other}\t?\t1")
    split = Split(tmp_path)
    assert [split.holds_out(tmp_path / folder / KEPT[0]) for folder in ("a", "b")] == [False, True]
    table(tmp_path, f"a/{KEPT[0]}\t?\t1")
    with pytest.raises(ValueError, match="listed in a table of another folder"):
        Split(tmp_path)


@pytest.mark.parametrize(("content", "told"), [
    (b"", "must have one column 'file'"),
    (b"name\tsource\n", "must have one column 'file'"),
    (b"file\tlicence\na\tb\n", "must have one column 'source'"),
    (b"file,source\na,b\n", "must have one column 'file'; its first line, with tabs between the columns"),
    (b"file\tsource\tsource\na\tb\tc\n", "must have one column 'source'"),
    (b"file\tsource\nx.png\tone\n\nx.png\ttwo\n", "line 4: x.png is listed on line 2, too"),
    (b"file\tsource\nx.png\tone\n./x.png\ttwo\n", "line 3: x.png is listed on line 2, too"),
    (b"file\tsource\nx.png\n", "line 2: must hold 2 cells"),
    (b"file\tsource\nx.png\tone\ttwo\n", "line 2: must hold 2 cells"),
    (b"file\tsource\nx.png\t \n", "line 2: must hold 2 cells.*file and source not empty"),
    ("file\tsource\nü.png\tone\n".encode("latin-1"), "is not UTF-8: .* at byte 12; save it as UTF-8")])
def test_a_broken_table_is_one_clear_error(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / TABLE).write_bytes(content)
    with pytest.raises(ValueError, match=f"{TABLE}.*{told}"):
        Split(tmp_path)


def test_tables_of_other_systems_are_read(tmp_path: Path) -> None:
    """A byte order mark, and lines that end as on Windows."""
    (tmp_path / TABLE).write_bytes(b"\xef\xbb\xbfsource\tfile\r\none\tx.png\r\none\ty.png\r\n")
    assert {source: list(map(str, files)) for source, files in read_sources(tmp_path / TABLE).items()} == {"one": ["x.png", "y.png"]}


def test_training_and_the_benchmark_take_the_same_split(photo_files: Path, tmp_path: Path) -> None:
    """Of three photos whose names are kept, one has another cut among those trained on: neither takes it for one that is kept."""
    paths = find_photos(photo_files)
    kept = [path.name for path in paths if held_out(path)]
    trained = [path.name for path in paths if not held_out(path)]
    assert len(benchmark_photos(photo_files)) == len(kept) == 3
    sources = dict(zip(kept + trained, "abcade"))               # the first one of each are cuts of picture a
    table(photo_files, *(f"{name}\t?\t{source}" for name, source in sources.items()))
    cache = open_photos(photo_files, (144, 96), (96, 64), tmp_path / "cache", progress=False)
    used = benchmark_photos(photo_files)
    assert {path.name for path in used} == {cache.names[index] for index in cache.validation()} == set(kept[1:]) == cache.held_out
    assert {cache.names[index] for index in cache.training()} == {kept[0], *trained} and cache.unlisted == 0
    assert used == benchmark_photos(photo_files)
    cv2.imwrite(str(photo_files / "new.png"), np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    assert open_photos(photo_files, (144, 96), (96, 64), tmp_path / "cache", progress=False).unlisted == 1


def test_no_real_photo_has_a_sibling_on_the_other_side(data_folder: Path) -> None:
    folder = data_folder / "train_photos"
    split, sides = Split(folder), defaultdict(set)
    kept = [path for path in find_photos(folder) if split.holds_out(path)]
    for source, files in read_sources(folder / TABLE).items():
        sides[source] = {split.holds_out(folder / file) for file in files}
    assert len(kept) == 31 and all(len(side) == 1 for side in sides.values())
    assert all(map(held_out, kept))                             # nor was any of them trained on while names alone decided
