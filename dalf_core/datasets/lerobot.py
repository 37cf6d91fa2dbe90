"""LeRobotDataset v3.0: meta/, data/ (Parquet), videos/ (H.264). The layout is that which lerobot 0.4 reads."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..image_registration.video import VideoWriter
from .episode import DatasetError, Episode
from .features import COLOR, DEPTH, element_names, frame_features
from .statistics import image_statistics, statistics

VERSION = "v3.0"
CHUNK = 1000                # files in a folder
KEYFRAMES_EVERY = 2         # pictures: frames are read in any order when one learns from them
SAMPLED = 20                # pictures of an episode that its statistics are taken from
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
INDICES = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}


def write_lerobot(folder: Path, episodes: Sequence[Episode], *, keypoints: int, task: str, images: bool, depth: bool) -> None:
    """Fill an empty folder. images, depth: whether videos of the colour images and PNGs of depth (16 bits, millimetres) are written too.

    Each episode is one data file and one video. Frames are 1 / fps apart, as LeRobot wants them: observation.stamp_s has the true times.
    Raises DatasetError: rates or image sizes differ, or there is no image where images are asked for.
    """
    names = sorted({name for episode in episodes for name in episode.points})
    rates = sorted({round(episode.fps) for episode in episodes})
    if len(rates) > 1:
        raise DatasetError(f"one dataset has one rate, the recordings have {rates[0]} to {rates[-1]} frames a second: export them apart")
    writer = _Writer(folder, max(1, rates[0]), images, depth)
    for episode in episodes:
        writer.add(episode, frame_features(episode, keypoints, names))
    writer.finish(task)


class _Writer:
    """Gathers what the files in meta/ tell, while data and videos are written."""

    def __init__(self, folder: Path, fps: int, images: bool, depth: bool) -> None:
        self._folder, self._fps, self._images, self._depth = folder, fps, images, depth
        self._rows: list[dict[str, Any]] = []           # of the episodes
        self._columns: list[dict[str, np.ndarray]] = []
        self._samples: dict[str, list[np.ndarray]] = {COLOR: [], DEPTH: []}
        self._shapes: dict[str, tuple[int, int]] = {}       # of the images: height, width
        self._frames = 0

    def add(self, episode: Episode, features: dict[str, np.ndarray]) -> None:
        number, count = len(self._rows), len(episode)
        at = {"chunk_index": number // CHUNK, "file_index": number % CHUNK}
        row: dict[str, Any] = {"episode_index": number, "tasks": [], "length": count, "dataset_from_index": self._frames,
                               "dataset_to_index": self._frames + count, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        row |= {f"data/{name}": value for name, value in at.items()}
        depths = None
        if self._images:
            depths = self._write_images(episode, self._folder / VIDEO.format(video_key=COLOR, **at))
            row |= {f"videos/{COLOR}/{name}": value for name, value in at.items()}
            row |= {f"videos/{COLOR}/from_timestamp": 0.0, f"videos/{COLOR}/to_timestamp": count / self._fps}
        frame = np.arange(count)
        columns = {**features, "timestamp": (frame / self._fps).astype(np.float32), "frame_index": frame,
                   "episode_index": np.full(count, number), "index": self._frames + frame, "task_index": np.zeros(count, np.int64)}
        self._write_data(self._folder / DATA.format(**at), columns, depths)
        self._rows.append(row)
        self._columns.append(columns)
        self._frames += count

    def _write_images(self, episode: Episode, video: Path) -> list[bytes] | None:
        """The video; returns depth as PNGs, where it is asked for."""
        if episode.images is None:
            raise DatasetError(f"{episode.name}: its recording is not at hand, so there are no images: name the folder that it lies in "
                               "(--recordings), or leave images out (--no-images)")
        depths: list[bytes] = []
        written, every = 0, max(1, len(episode) // SAMPLED)
        with VideoWriter(video, self._fps, keyframes_every=KEYFRAMES_EVERY) as film:
            for number, frame in enumerate(episode.images()):
                self._check_shape(episode, COLOR, frame.image)
                film.write(frame.image)
                written += 1
                if number % every == 0:
                    self._samples[COLOR].append(cv2.resize(frame.image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
                if self._depth:
                    if frame.depth_m is None:
                        raise DatasetError(f"{episode.name}: frame {number} has no depth: leave it out (--no-depth)")
                    self._check_shape(episode, DEPTH, frame.depth_m)
                    millimetres = np.nan_to_num(1000 * frame.depth_m, posinf=0).clip(0, 65535).round().astype(np.uint16)
                    depths.append(cv2.imencode(".png", millimetres)[1].tobytes())
                    if number % every == 0:
                        self._samples[DEPTH].append(millimetres[::4, ::4])
        if written != len(episode):
            raise DatasetError(f"{episode.name}: {written} images were read for {len(episode)} frames: the recording was changed since it "
                               "was registered")
        return depths if self._depth else None

    def _check_shape(self, episode: Episode, key: str, image: np.ndarray) -> None:
        shape = self._shapes.setdefault(key, (image.shape[0], image.shape[1]))
        if shape != image.shape[:2]:
            raise DatasetError(f"one dataset has one image size: {episode.name} has {image.shape[1]}x{image.shape[0]} pixels, those before "
                               f"{shape[1]}x{shape[0]}: export them apart")

    def _write_data(self, path: Path, columns: dict[str, np.ndarray], depths: list[bytes] | None) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        arrays = {name: _arrow(values) for name, values in columns.items()}
        if depths is not None:
            arrays[DEPTH] = pa.array([{"bytes": data, "path": None} for data in depths],
                                     pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(arrays), path)

    # ---------------------------------------------------------------- meta/

    def finish(self, task: str) -> None:
        """Write meta/."""
        import pyarrow as pa
        from pyarrow import parquet

        rows = [row | {"tasks": [task]} | _flat(self._statistics([columns])) for row, columns in zip(self._rows, self._columns)]
        episodes = self._folder / "meta/episodes/chunk-000/file-000.parquet"
        episodes.parent.mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(rows), episodes)
        parquet.write_table(_task_table(task), self._folder / "meta/tasks.parquet")
        pictures = {key: image_statistics(samples) for key, samples in self._samples.items() if samples}
        self._write_json("stats.json", self._statistics(self._columns) | pictures)
        self._write_json("info.json", self._info())

    @staticmethod
    def _statistics(columns: list[dict[str, np.ndarray]]) -> dict[str, dict[str, list]]:
        return {name: statistics(np.concatenate([one[name] for one in columns])) for name in columns[0]}

    def _info(self) -> dict[str, Any]:
        return {"codebase_version": VERSION, "robot_type": None, "total_episodes": len(self._rows), "total_frames": self._frames,
                "total_tasks": 1, "chunks_size": CHUNK, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": self._fps,
                "splits": {"train": f"0:{len(self._rows)}"}, "data_path": DATA, "video_path": VIDEO if self._images else None,
                "features": self._features()}

    def _features(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for key, (height, width) in self._shapes.items():
            channels = 3 if key == COLOR else 1
            features[key] = {"dtype": "video" if key == COLOR else "image", "shape": [height, width, channels],
                             "names": ["height", "width", "channels"]}
        if COLOR in features:
            height, width = self._shapes[COLOR]
            features[COLOR]["info"] = {
                "video.height": height + height % 2, "video.width": width + width % 2, "video.codec": "h264", "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False, "video.fps": self._fps, "video.channels": 3, "has_audio": False}
        for name, values in self._columns[0].items():
            length = 1 if values.ndim == 1 else values.shape[1]
            features[name] = {"dtype": INDICES.get(name, str(values.dtype)), "shape": [length], "names": element_names(name, length)}
        return features

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        (self._folder / "meta" / name).write_text(json.dumps(value, indent=4), encoding="utf-8")


def _arrow(values: np.ndarray) -> Any:
    """A column: numbers, or lists of one length."""
    import pyarrow as pa

    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _flat(stats: dict[str, dict[str, list]]) -> dict[str, list]:
    return {f"stats/{feature}/{kind}": values for feature, kinds in stats.items() for kind, values in kinds.items()}


def _task_table(task: str) -> Any:
    """task_index by the task's words, an index as pandas has it."""
    import pyarrow as pa

    def column(name: str | None, field: str, kind: str, numpy_type: str) -> dict[str, Any]:
        return {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}

    index = "__index_level_0__"
    about = {"index_columns": [index], "column_indexes": [column(None, "None", "unicode", "object") | {"metadata": {"encoding": "UTF-8"}}],
             "columns": [column("task_index", "task_index", "int64", "int64"), column(None, index, "unicode", "object")],
             "creator": {"library": "pyarrow", "version": pa.__version__}, "pandas_version": "2.2.0"}
    table = pa.table({"task_index": pa.array([0], pa.int64()), index: pa.array([task], pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})
