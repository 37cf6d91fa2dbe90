"""Settings: from files and the command line, with errors that name the key."""
from pathlib import Path

import pytest
import yaml
from dalf_training.config import CONFIGS, ConfigError, TrainingConfig, first_difference, from_plain, load_config, override, to_plain


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configs_that_are_shipped(path: Path) -> None:
    config = load_config(path)
    assert from_plain(yaml.safe_load(yaml.safe_dump(to_plain(config)))) == config
    for stage in config.stage_configs():
        assert stage.stages == () and stage.photo_size == config.photo_size


def test_file_stages_and_command_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("pairs: 6\nlearning_rate: 1e-4\nrotation: 90\nstages:\n  - {steps: 5}\n  - {mode: ts-fl, steps: 7, pairs: 3}\n")
    config = load_config(path, ["crop_size=[96, 64]", "margin=1"])
    first, second = config.stage_configs()
    assert (first.mode, first.steps, first.pairs, second.mode, second.steps, second.pairs) == ("ts1", 5, 6, "ts-fl", 7, 3)
    assert first.learning_rate == second.learning_rate == 1e-4 and first.rotation == ((0.0, 90.0),)
    assert second.crop_size == (96, 64) and second.margin == 1.0
    assert [stage.steps for stage in override(config, ["steps=2"]).stage_configs()] == [2, 2]
    alone = load_config(path, mode="ts-fl")
    assert [(stage.mode, stage.steps) for stage in alone.stage_configs()] == [("ts-fl", 7)]
    assert load_config(path, mode="end2end-tps").stage_configs()[0].steps == TrainingConfig().steps


@pytest.mark.parametrize(("setting", "told"), [
    ("learnin_rate=1", "nearest is 'learning_rate'"), ("steps=many", "steps must be a whole number"), ("steps=0", "steps must lie in 1"),
    ("pairs=1.5", "pairs must be a whole number"), ("mode=ts3", "mode must be one of ts1"), ("compile=1", "compile must be true or false"),
    ("rotation=[[0, 400]]", "rotation must be a list"), ("rotation=[[0.5, 1], [0, 2]]", "rotation must be a list"),
    ("rotation=[1, 2]", "rotation must be a number or a list"),
    ("crop_size=[32, 32]", "crop_size must be at least 64x64"), ("crop_size=[800, 600]", "photo_size must be at least 1200x900"),
    ("crop_size=7", "width, height"), ("negative_group=5", r"negative_group \(5\) must divide"), ("precision=half", "precision"),
    ("dropout=nan", "dropout"), ("steps", "key=value"), ("stages=[]", "--config"), ("keypoint_cost=-1", "keypoint_cost must lie in 0"),
])
def test_errors_name_the_key(setting: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(None, [setting])


@pytest.mark.parametrize(("text", "told"), [
    ("stages:\n - {mode: ts9}", "stage 1: mode"), ("stages:\n - {seed: 1}", "seed holds for the whole run"), ("- a\n- b", "key: value"),
    ("a: [", "no YAML"), ("stages: 3", "stages must be a list"),
    ("stages:\n - {step: 1}", "stage 1: there is no setting 'step'; the nearest is 'steps'")])
def test_bad_files(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_config(path)


def test_differences() -> None:
    config = load_config(CONFIGS / "default.yaml")
    assert first_difference(config, to_plain(config)) is None
    assert first_difference(override(config, ["save_every=9", "tensorboard=false"]), to_plain(config)) is None
    assert first_difference(override(config, ["seed=9"]), to_plain(config)) == "in stage 1, seed is 9, but the run was started with 32000"
    assert "in stage 1, steps is 3" in str(first_difference(override(config, ["steps=3"]), to_plain(override(config, ["steps=4"]))))
    one = load_config(CONFIGS / "default.yaml", mode="ts1")
    assert first_difference(one, to_plain(config)) == "stages are 1, but the run was started with 2"
    assert first_difference(override(one, ["margin=1"]), to_plain(one)) == "margin is 1.0, but the run was started with 0.5"
