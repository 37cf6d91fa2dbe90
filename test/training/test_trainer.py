"""Training runs: what they write, that they can be interrupted anywhere, what stops them."""
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dalf_training.checkpoint import RunError, RunFolder
from dalf_training.config import TrainingConfig
from dalf_training.data.photo_cache import PhotoCache
from dalf_training.distributed import World
from dalf_training.trainer import DONE, STOPPED, DivergedError, Trainer

from dalf_core.features.network import DalfNetwork
from dalf_core.weights import read_weights

ALONE = World(0, 1, torch.device("cpu"))
STAGES = ({"mode": "ts1", "steps": 3}, {"mode": "ts-fl", "steps": 3})


def make_trainer(config: TrainingConfig, photos: PhotoCache, folder: RunFolder) -> Trainer:
    torch.manual_seed(0)
    return Trainer(config, photos, folder, ALONE, DalfNetwork(), {"start": "random weights"})


def tensors_of(folder: RunFolder) -> dict[str, torch.Tensor]:
    saved = folder.load()
    return {**saved["network"], **{f"optimizer {number} {name}": value for number, values in saved["optimizer"]["state"].items()
                                   for name, value in values.items()}}


def test_resumed_runs_are_those_never_interrupted(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path) -> None:
    """Bit for bit, with dropout, through both stages, stopped three times: within a stage, at its end, within the next."""
    config = replace(small_config, stages=STAGES)
    with RunFolder(tmp_path / "whole") as whole:
        assert make_trainer(config, photos, whole).run() == DONE
    with RunFolder(tmp_path / "pieces") as pieces:
        for steps in (2, 1, 2, 9):
            trainer = make_trainer(config, photos, pieces)
            if pieces.checkpoint.exists():
                trainer.restore(pieces.load())
                pieces.cut_history(trainer.progress.stage, trainer.progress.step)
            countdown = iter([False] * (steps - 1) + [True])
            state = trainer.run(lambda: next(countdown))        # noqa: B023
        assert state == DONE
    ours, theirs = tensors_of(whole), tensors_of(pieces)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert whole.load()["progress"] == pieces.load()["progress"]
    ours, theirs = read_weights(whole.best), read_weights(pieces.best)
    assert ours.metadata == theirs.metadata and all(torch.equal(value, theirs.tensors[name]) for name, value in ours.tensors.items())
    lines = [[{key: value for key, value in json.loads(line).items() if key != "pairs_per_second"}
              for line in folder.history.read_text().splitlines()] for folder in (whole, pieces)]
    assert lines[0] == lines[1] and {line["stage"] for line in lines[0]} == {0, 1}


def test_every_stage_is_measured_from_its_start(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        make_trainer(replace(small_config, stages=STAGES), photos, folder).run()
    lines = [json.loads(line) for line in folder.history.read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines if "score" in line] == [(0, 0), (0, 2), (0, 3), (1, 0), (1, 2), (1, 3)]
    assert folder.load()["progress"]["best"] == max(line["score"] for line in lines if line["stage"] == 1 and "score" in line)


def test_weights_can_be_used(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path, texture) -> None:
    from dalf_core import DALF

    with RunFolder(tmp_path) as folder:
        make_trainer(replace(small_config, steps=2, mode="end2end-fl"), photos, folder).run()
    loaded = read_weights(folder.best)
    assert loaded.geometry == "corrected" and loaded.metadata["mode"] == "end2end-fl"
    assert json.loads(loaded.metadata["recipe"])["crop_size"] == [96, 64] and "10 photos" in loaded.metadata["data"]
    assert loaded.threshold == float(loaded.metadata["threshold"]) != 25
    features = DALF(folder.best, device="cpu").extract(texture(0, (320, 240)))
    assert 10 < len(features) <= 2048 and features.descriptors.shape[1] == 128


def test_training_changes_what_its_mode_says_and_nothing_else(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = DalfNetwork().state_dict()
    for mode, frozen, learned in (("ts1", ("warper", "patch_descriptor", "fusion"), ("backbone.encoder", "backbone.decoder")),
                                  ("ts-fl", ("backbone.encoder", "backbone.feature_head"), ("warper", "patch_descriptor", "fusion"))):
        with RunFolder(tmp_path / mode) as folder:
            make_trainer(replace(small_config, steps=1, mode=mode), photos, folder).run()
        after = folder.load()["network"]
        changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        assert not [name for name in changed if name.startswith(frozen)]
        for part in learned:
            assert [name for name in changed if name.startswith(part)], part


def test_a_loss_that_is_no_number_stops_the_run(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    from dalf_training import trainer as module

    original, calls = module.batch_loss, []

    def spoiled(*arguments):
        outcome = original(*arguments)
        calls.append(1)
        return replace(outcome, loss=outcome.loss * float("nan")) if len(calls) == 4 else outcome

    monkeypatch.setattr(module, "batch_loss", spoiled)
    with RunFolder(tmp_path) as folder, pytest.raises(DivergedError, match="not finite at step 4 of stage 1"):
        make_trainer(small_config, photos, folder).run()
    saved = folder.load()
    assert saved["progress"]["step"] == 2 and all(torch.isfinite(tensor).all() for tensor in saved["network"].values())


def test_a_full_disk_keeps_the_last_checkpoint(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder(tmp_path) as folder:
        trainer = make_trainer(small_config, photos, folder)
        countdown = iter([False, True])
        assert trainer.run(lambda: next(countdown)) == STOPPED
        good = folder.checkpoint.read_bytes()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("dalf_core.files.whole_file.os.fsync", full)
        with pytest.raises(OSError, match="cannot be written: No space left on device; the last good state is kept"):
            trainer.run()
    assert folder.checkpoint.read_bytes() == good
    assert not list(tmp_path.glob(".*.part*"))


def test_checkpoints_that_do_not_fit(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(RunError, match="no run to resume"):
        folder.load()
    folder.checkpoint.write_bytes(b"PK damaged")
    with pytest.raises(RunError, match="damaged"):
        folder.load()
    torch.save({"weights": torch.zeros(3)}, folder.checkpoint)
    with pytest.raises(RunError, match="no checkpoint of this trainer"):
        folder.load()
    torch.save({"format": "dalf-training-1", "architecture": "ts-xl"}, folder.checkpoint)
    with pytest.raises(RunError, match="architecture 'ts-xl'"):
        folder.load()
    with pytest.raises(RunError, match="does not fit the network"):
        make_trainer(small_config, photos, folder).restore({"network": {"a": torch.zeros(1)}})


def test_one_run_a_folder(tmp_path: Path) -> None:
    with RunFolder(tmp_path), pytest.raises(RunError, match="another training run"), RunFolder(tmp_path):
        pass
    with RunFolder(tmp_path):
        pass


def test_processes_must_divide_the_pairs(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 pairs cannot be divided among 3 processes"):
        Trainer(small_config, photos, RunFolder(tmp_path), World(0, 3, torch.device("cpu")), DalfNetwork())


@pytest.mark.gpu
def test_on_a_gpu(photos: PhotoCache, small_config: TrainingConfig, tmp_path: Path) -> None:
    config = replace(small_config, stages=STAGES, precision="auto")
    torch.manual_seed(0)
    with RunFolder(tmp_path) as folder:
        assert Trainer(config, photos, folder, World(0, 1, torch.device("cuda")), DalfNetwork()).run() == DONE
    assert all(torch.isfinite(tensor).all() for tensor in folder.load()["network"].values())
