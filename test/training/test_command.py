"""The command: bad input is told in one line, signals save the run, --resume goes on."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from dalf_training import command
from dalf_training.checkpoint import RunFolder
from dalf_training.config import TrainingConfig, to_plain
from dalf_training.data.photos import TABLE, held_out
from dalf_training.modes import MODES

from dalf_core.features.network import DalfNetwork
from dalf_core.weights import save_weights


@pytest.fixture
def arguments(photo_folder: Path, small_config: TrainingConfig, tmp_path: Path) -> list[str]:
    """A run of four steps into tmp_path/run."""
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(to_plain(small_config)))
    return ["--images", str(photo_folder), "--output", str(tmp_path / "run"), "--config", str(config), "--cache", str(tmp_path / "cache")]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line that is told."""
    capsys.readouterr()
    assert command.main(arguments) == 2
    told = capsys.readouterr().err
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in told
    return lines[0]


def test_a_run_and_its_resumption(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*arguments, "--minutes", "0.000001"]) == 0
    assert "stopped after step 1" in capsys.readouterr().err
    assert "say --resume" in refused(capsys, arguments)
    assert "steps is 9, but the run was started with 4" in refused(capsys, [*arguments, "--resume", "--steps", "9"])
    assert "leave one of them out" in refused(capsys, [*arguments, "--resume", "--weights", "official"])
    assert command.main([*arguments, "--resume", "--set", "save_every=1"]) == 0
    told = capsys.readouterr()
    assert "going on after step 1" in told.err and f"DALF(weights='{tmp_path}/run/best.safetensors', descriptor='backbone')" in told.out
    assert "peak memory: " in told.err
    assert f"./run evaluate --photos {arguments[1]} --weights default {tmp_path}/run/best.safetensors" in told.out
    folder = RunFolder(tmp_path / "run")
    assert folder.load()["progress"]["step"] == 4
    assert [json.loads(line)["step"] for line in folder.history.read_text().splitlines()] == [0, 1, 2, 2, 3, 4, 4]
    assert yaml.safe_load(folder.config.read_text())["steps"] == 4
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number in range(4):
        cv2.imwrite(str(elsewhere / f"p{number}.png"), cv2.imread(str(next(Path(arguments[1]).glob("*.png")))))
    assert "are not those the run was started with" in refused(capsys, ["--images", str(elsewhere), *arguments[2:], "--resume"])
    torch.save({**torch.load(folder.checkpoint), "architecture": "ts-xl"}, folder.checkpoint)
    assert "architecture 'ts-xl', this trainer makes 'ts-fl'" in refused(capsys, [*arguments, "--resume"])


@pytest.mark.parametrize("older", [False, True], ids=["", "from before there were tables of sources"])
def test_the_split_stays_through_a_run(photo_folder: Path, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                       older: bool) -> None:
    """Else photos that were learned from would be validated on, and the best weights chosen by them."""
    images = tmp_path / "photos"
    shutil.copytree(photo_folder, images)
    options = ["--images", str(images), *arguments[2:]]
    assert command.main([*options, "--minutes", "0.000001"]) == 0
    assert "8 photos to learn from, 2 kept" in capsys.readouterr().err
    checkpoint = tmp_path / "run" / "last.pt"
    if older:
        saved = torch.load(checkpoint)
        del saved["held_out"]
        torch.save(saved, checkpoint)
    names = [path.relative_to(images).as_posix() for path in images.rglob("*.png")]
    kept, trained = (next(name for name in names if held_out(name) == side) for side in (True, False))
    (images / TABLE).write_text(f"file\tsource\n{kept}\tone\n{trained}\tone\n")
    told = refused(capsys, [*options, "--resume"])
    assert f"1 (such as {kept}) were kept for validation when the run was started and are not now" in told and TABLE in told
    (images / TABLE).write_text(f"file\tsource\n{kept}\tone\n{trained}\ttwo\n")        # a table that changes nothing
    assert command.main([*options, "--resume"]) == 0
    assert f"warning: 8 photos are not listed in {TABLE}" in capsys.readouterr().err


def test_bad_photos(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], texture) -> None:
    folder = tmp_path / "few"
    options = ["--images", str(folder), *arguments[2:]]
    assert "no folder" in refused(capsys, options)
    folder.mkdir()
    assert "holds no photos" in refused(capsys, options)
    cv2.imwrite(str(folder / "p1.png"), texture(0, (180, 120)))
    assert "1 photos to learn from" in refused(capsys, options)
    cv2.imwrite(str(folder / "p1.png"), texture(0, (80, 60)))
    assert "80x60 is smaller than the crop, 96x64" in refused(capsys, options)
    (folder / TABLE).write_text("file;source\n")
    assert f"{TABLE} must have one column 'file'" in refused(capsys, options)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_was_there_stays(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "none").mkdir()
    assert "holds no photos" in refused(capsys, ["--images", str(tmp_path / "none"), *arguments[2:]])
    assert (tmp_path / "run").is_dir()


def test_bad_options(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the nearest is 'learning_rate'" in refused(capsys, [*arguments, "--set", "learning-rate=1"])
    assert "No such file" in refused(capsys, [*arguments[:4], "--config", "nowhere.yaml"])
    assert "no run to resume" in refused(capsys, [*arguments, "--resume"])
    assert "--minutes must be positive" in refused(capsys, [*arguments, "--minutes", "-1"])
    assert "goes on from a first stage" in refused(capsys, [*arguments, "--mode", "ts-fl"])
    assert "no such file" in refused(capsys, [*arguments, "--weights", str(tmp_path / "none.pth")])
    torch.save({"net.encoder.blocks.0.convs.0.weight": torch.zeros(128, 1, 3, 3)}, tmp_path / "other.pth")
    assert "does not fit the network of kind 'ts-fl'" in refused(capsys, [*arguments, "--weights", str(tmp_path / "other.pth")])
    assert "unknown device" in refused(capsys, [*arguments, "--device", "tpu"])
    with pytest.raises(SystemExit) as ended:
        command.main([*arguments, "--smoke"])
    assert ended.value.code == 2


def test_places_that_cannot_be_written(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "output folder" in refused(capsys, [*arguments[:2], "--output", str(tmp_path / "file" / "run"), *arguments[4:]])
    assert "--cache" in refused(capsys, [*arguments[:-1], str(tmp_path / "file")])
    with RunFolder(tmp_path / "run"):
        assert "another training run" in refused(capsys, arguments)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folders_without_permission(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "Permission denied; name another one with --output" in refused(
        capsys, [*arguments[:2], "--output", str(closed / "run"), *arguments[4:]])
    assert "Permission denied; name another folder with --cache" in refused(capsys, [*arguments[:-1], str(closed / "cache")])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the run goes on: what did not fit is named, in one line. The checkpoint: see test_trainer."""
    assert command.main([*arguments, "--minutes", "0.000001"]) == 0
    history = tmp_path / "run" / "history.jsonl"
    monkeypatch.setattr(RunFolder, "cut_history", lambda *_: None)
    history.unlink()
    history.symlink_to("/dev/full")
    assert f"{history} cannot be written: No space left on device" in refused(capsys, [*arguments, "--resume"])
    pytest.importorskip("tensorboard")
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    told = refused(capsys, [*arguments, "--resume", "--set", "tensorboard=true"])
    assert f"{tmp_path}/run/tensorboard cannot be written: No space left on device" in told and "--resume" in told


def test_start_weights(arguments: list[str], tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = DalfNetwork()
    save_weights(network, tmp_path / "start.safetensors")
    assert command.main([*arguments, "--mode", "ts-fl", "--steps", "1", "--weights", str(tmp_path / "start.safetensors")]) == 0
    saved = RunFolder(tmp_path / "run").load()
    assert saved["metadata"]["start"] == "start.safetensors"
    assert torch.equal(saved["network"]["backbone.encoder.0.0.weight"], network.state_dict()["backbone.encoder.0.0.weight"])


def test_sigterm_saves(arguments: list[str], tmp_path: Path) -> None:
    endless = [*arguments, "--set", "steps=100000", "--set", "validate_every=100000"]
    process = subprocess.Popen([sys.executable, "-m", "dalf_training", *endless], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    history = tmp_path / "run" / "history.jsonl"
    deadline = time.monotonic() + 120
    while not (history.exists() and history.read_text().count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM and "and saved" in told
    assert RunFolder(tmp_path / "run").load()["progress"]["step"] >= 3


def test_ctrl_c_while_photos_are_read(arguments: list[str], tmp_path: Path, texture) -> None:
    """The process ends soon and leaves no part of a cache."""
    folder, cache = tmp_path / "many", tmp_path / "cache"
    folder.mkdir()
    cv2.imwrite(str(folder / "p.png"), texture(0, (1800, 1200)))
    for number in range(2000):
        (folder / f"p{number}.png").hardlink_to(folder / "p.png")
    process = subprocess.Popen([sys.executable, "-m", "dalf_training", "--images", str(folder), *arguments[2:]], stderr=subprocess.PIPE,
                               text=True)
    deadline = time.monotonic() + 120
    while not list(cache.glob(".*.part*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interrupted before the first step; there was nothing new to save" and "Traceback" not in told
    assert list(cache.iterdir()) == []


def test_stop_signals() -> None:
    """They end the program until the training loop asks for them; then one is noted, and the next ends it."""
    before = signal.getsignal(signal.SIGTERM)
    with command.StopSignals() as signals:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    with command.StopSignals() as signals:
        assert not signals.stop()
        signal.raise_signal(signal.SIGTERM)
        assert signals.stop() and signals.received == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_modes_of_the_command_are_those_of_the_trainer() -> None:
    assert (*MODES,) == command.MODES
