"""Photos on disk, their cache, the batches made of them."""
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dalf_training.config import TrainingConfig
from dalf_training.data.photo_cache import PhotoCache, open_photos
from dalf_training.data.photo_loader import PhotoBatch, PhotoLoader
from dalf_training.data.photos import held_out

CPU = torch.device("cpu")


def test_cache(photo_folder: Path, tmp_path: Path) -> None:
    cache = open_photos(photo_folder, (144, 96), (96, 64), tmp_path, progress=False)
    assert cache.pixels.shape == (10, 96, 144, 3) and len(cache.names) == 10 and cache.skipped == ()
    for index, name in enumerate(cache.names):
        photo = cv2.imread(str(photo_folder / name))
        assert np.array_equal(cache.pixels[index], cv2.resize(photo, (144, 96), interpolation=cv2.INTER_AREA))
    assert sorted([*cache.training(), *cache.validation()]) == list(range(10))
    assert [held_out(cache.names[index]) for index in cache.validation()] == [True, True]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = open_photos(photo_folder, (144, 96), (96, 64), tmp_path, progress=False)
    assert again.key == cache.key and {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert open_photos(photo_folder, (120, 96), (96, 64), tmp_path, progress=False).key != cache.key


def test_a_copied_folder_is_the_same_photos(photo_folder: Path, tmp_path: Path) -> None:
    cache = open_photos(photo_folder, (144, 96), (96, 64), tmp_path / "cache", progress=False)
    shutil.copytree(photo_folder, tmp_path / "copied", copy_function=shutil.copyfile)
    copied = open_photos(tmp_path / "copied", (144, 96), (96, 64), tmp_path / "cache", progress=False)
    assert copied.key == cache.key and np.array_equal(copied.pixels, cache.pixels)


def test_a_photo_written_anew_is_read_anew(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder, tmp_path / "changing")
    cache = open_photos(tmp_path / "changing", (144, 96), (96, 64), tmp_path / "cache", progress=False)
    shorter, longer = sorted((0, 1), key=lambda index: (tmp_path / "changing" / cache.names[index]).stat().st_size)
    changed = tmp_path / "changing" / cache.names[longer]
    changed.write_bytes((tmp_path / "changing" / cache.names[shorter]).read_bytes().ljust(changed.stat().st_size))
    again = open_photos(tmp_path / "changing", (144, 96), (96, 64), tmp_path / "cache", progress=False)
    assert again.key == cache.key and np.array_equal(again.pixels[longer], cache.pixels[shorter])


def test_what_cannot_be_used_is_told(tmp_path: Path, texture, blank_png) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "upright.png"), texture(1, (100, 200)))
    cv2.imwrite(str(folder / "small.png"), texture(2, (90, 60)))
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "bomb.png").write_bytes(blank_png(30000, 30000))
    cache = open_photos(folder, (144, 96), (96, 64), tmp_path / "cache", progress=False)
    assert cache.names == ("upright.png",)
    laid = cv2.rotate(cv2.imread(str(folder / "upright.png")), cv2.ROTATE_90_CLOCKWISE)        # 200x100: the middle 150 to 144
    expected = cv2.resize(laid[:, 25:175], (144, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(cache.pixels[0].astype(int) - expected).mean() < 1
    assert dict(cache.skipped) == {"broken.jpg": "is no picture that can be read (PNG, JPEG, WebP, TIFF, BMP), or it was cut off",
                                   "bomb.png": "has 30000x30000 pixels, more than the 250 million that are decoded: make it smaller first",
                                   "small.png": "90x60 is smaller than the crop, 96x64 (setting crop_size)"}
    with pytest.raises(ValueError, match=r"1 photos to learn from|0 photos to learn from"):
        cache.training()
    (folder / "upright.png").unlink()
    with pytest.raises(ValueError, match="none of the 3 photos.*broken.jpg is no picture"):
        open_photos(folder, (144, 96), (96, 64), tmp_path / "cache", progress=False)


def test_a_full_disk_leaves_nothing(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dalf_core.files.whole_file.os.replace", full)
    with pytest.raises(OSError, match="No space left on device.*--cache"):
        open_photos(photo_folder, (144, 96), (96, 64), tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_processes_are_removed(photo_folder: Path, tmp_path: Path) -> None:
    for name in (".old.1.part.npy", ".new.2.part.npy"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".old.1.part.npy", (0, 0))
    open_photos(photo_folder, (144, 96), (96, 64), tmp_path, progress=False)
    assert [path.name for path in tmp_path.glob(".*")] == [".new.2.part.npy"]       # another process may be writing to it


def test_batches_depend_on_their_number_alone(photos: PhotoCache, small_config: TrainingConfig) -> None:
    with PhotoLoader(photos, photos.training(), small_config, 0, 0, CPU) as loader:
        batches = list(loader)
    assert [batch.number for batch in batches] == [0, 1, 2, 3]
    with PhotoLoader(photos, photos.training(), small_config, 0, 2, CPU) as loader:
        later = next(iter(loader))
    assert torch.equal(later.sheets, batches[2].sheets) and torch.equal(later.warp.homography, batches[2].warp.homography)
    assert later.difficulty == batches[2].difficulty
    assert not torch.equal(batches[0].warp.homography, batches[1].warp.homography)
    with PhotoLoader(photos, photos.training(), small_config, 1, 0, CPU) as loader:
        assert not torch.equal(next(iter(loader)).sheets, batches[0].sheets)


def test_several_threads_do_what_one_does(photos: PhotoCache, small_config: TrainingConfig) -> None:
    """In order, though batches are ready in another one; and no thread stays."""
    config = replace(small_config, steps=24)
    one, several = (PhotoLoader(photos, photos.training(), replace(config, prefetch=threads), 0, 3, CPU) for threads in (1, 5))
    make, calls = several.batch, iter(range(99))

    def unevenly(number: int) -> PhotoBatch:
        time.sleep(0.01 * (next(calls) % 3))
        return make(number)

    several.batch = unevenly
    with one, several:
        for ours, theirs in zip(one, several, strict=True):
            assert ours.number == theirs.number and torch.equal(ours.sheets, theirs.sheets)
            assert torch.equal(ours.warp.homography, theirs.warp.homography)
    assert theirs.number == 23
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("photos")]


def test_shares_make_up_the_batch(photos: PhotoCache, small_config: TrainingConfig) -> None:
    whole, *parts = (PhotoLoader(photos, photos.training(), small_config, 0, 0, CPU, rank, processes)
                     for rank, processes in ((0, 1), (0, 2), (1, 2)))
    batch, first, second = (loader.batch(3) for loader in (whole, *parts))
    for loader in (whole, *parts):
        loader.close()
    assert torch.equal(torch.cat([first.sheets[:1], second.sheets]), batch.sheets)       # the first one's last is the second one's first
    assert torch.equal(first.sheets[1], second.sheets[0])
    assert torch.equal(torch.cat([first.warp.homography, second.warp.homography]), batch.warp.homography)
    assert (first.rows, second.rows) == ((0, 1), (1, 2))


def test_every_photo_comes_as_often_as_the_others(photos: PhotoCache, small_config: TrainingConfig) -> None:
    loader = PhotoLoader(photos, photos.training(), small_config, 0, 0, CPU)
    loader.close()
    seen = np.array([loader._position(sample) for sample in range(24)]).reshape(3, 8)
    assert (np.sort(seen, axis=1) == np.arange(8)).all() and not np.array_equal(seen[0], seen[1])


def test_errors_of_the_thread_are_raised(photos: PhotoCache, small_config: TrainingConfig) -> None:
    with PhotoLoader(photos, np.array([99]), small_config, 0, 0, CPU) as loader, pytest.raises(IndexError):
        next(iter(loader))


def test_threads_work_on_the_gpu_of_their_process(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new thread begins with the first GPU, whichever its process has; that one would pin its memory and hold a context for it."""
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    cache = open_photos(photo_folder, (144, 96), (96, 64), tmp_path, progress=False)
    config = TrainingConfig(photo_size=(144, 96), crop_size=(96, 64), pairs=3, prefetch=2)
    for device in (CPU, torch.device("cuda", 1)):
        PhotoLoader(cache, cache.training(), config, 0, 0, device).close()
    assert set(chosen) == {torch.device("cuda", 1)}
