"""What a training run does: every setting with its default, and how settings come from a YAML file and the command line."""
from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from .modes import MODES

CONFIGS = Path(__file__).parent / "configs"
LEAST_CROP = 64                 # pixels: the network's borders and the rim without keypoints leave less than nothing of smaller ones
SHEET_MARGIN = 1.5              # size of the sheet that a pair of views is cut from, relative to a view
PRECISIONS = ("auto", "float32", "bfloat16")

Points = Sequence[Sequence[float]]      # of a schedule: [[progress, value], ...], progress from 0 to 1


class ConfigError(ValueError):
    """A setting that cannot be. The message names its key."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one stage of training. A schedule is a list of [progress, value], progress from 0 to 1 of the stage.

    mode: what learns, see modes.MODES. steps: of the optimiser. pairs: image pairs of a batch, of all processes together.
    accumulate: batches whose gradients are averaged for one step. learning_rate: of Adam. learning_rate_course: schedule of the factor
    on it. seed: of everything random.
    stages: settings that differ from these for each stage, run one after another; empty: one stage.

    photo_size: width, height to which photos are brought. crop_size: of the images the network sees.
    difficulty: schedule of the level of warp and light, 0 to 3. least_difficulty: each batch's level is drawn between this share of it
    and all of it. rotation: schedule of the bound of in-plane rotation, degrees. occluders: the most in an image at level 3.

    border: pixels at the rim without keypoints. reward_radius: schedule, pixels within which keypoints show the same place.
    keypoint_cost: of each keypoint, grown in over the first keypoint_cost_ramp of the stage. wrong_match_cost: of a match that the
    descriptors get wrong, from progress punish_from on.

    descriptor_weight: of the descriptors' loss relative to the detector's. margin: of the triplet loss. negative_group: number of pairs
    that share negatives; divides the pairs of each process. least_apart: pixels; nearer keypoints are no negatives of each other.
    matches: of a pair at most, that are described. dropout: in warper and polar descriptor.

    teacher: weights whose heatmap the light network's detector learns from: built-in, official or a path.
    taught_share: of each batch's pairs, for which the teacher is asked. jitter: pixels, standard
    deviation by which keypoints are moved before they are described, as a detector misplaces them; all of mode light alone.

    device: auto, cpu, cuda, cuda:N. precision: bfloat16 where convolutions may, float32, or auto: bfloat16 where the machine has it.
    compile: torch.compile the network. prefetch: batches made ready ahead, each by a thread of its own.
    log_every, picture_every, validate_every, save_every: steps. validation_pairs: image pairs, a third of them of each level.
    tensorboard: write curves and pictures for TensorBoard.
    """

    mode: str = "ts1"
    steps: int = 10_000
    pairs: int = 6
    accumulate: int = 8
    learning_rate: float = 1e-3
    learning_rate_course: Points = ((0, 0.1), (0.02, 1), (0.6, 1), (1, 0.02))
    seed: int = 32000
    stages: tuple[Mapping[str, Any], ...] = ()

    photo_size: tuple[int, int] = (800, 600)
    crop_size: tuple[int, int] = (320, 224)
    difficulty: Points = ((0, 0.7), (0.2, 1.5), (0.6, 2.5), (1, 3))
    least_difficulty: float = 0.3
    rotation: Points = ((0, 20), (0.1, 60), (0.4, 180))
    occluders: float = 2

    border: float = 16
    reward_radius: Points = ((0, 1.5),)
    keypoint_cost: float = 7e-5
    keypoint_cost_ramp: float = 1 / 3
    wrong_match_cost: float = 0.25
    punish_from: float = 0.75

    descriptor_weight: float = 0.005
    margin: float = 0.5
    negative_group: int = 3
    least_apart: float = 3
    matches: int = 256
    dropout: float = 0.1

    teacher: str = "built-in"
    taught_share: float = 1 / 3
    jitter: float = 0.5

    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    prefetch: int = 4
    log_every: int = 10
    picture_every: int = 500
    validate_every: int = 500
    save_every: int = 250
    validation_pairs: int = 48
    tensorboard: bool = True

    def __post_init__(self) -> None:
        _check(self)

    def stage_configs(self) -> list[TrainingConfig]:
        """The settings of each stage."""
        whole = replace(self, stages=())
        return [_updated(whole, stage) for stage in self.stages] or [whole]


# no settings of a single stage
WHOLE_RUN = ("stages", "photo_size", "seed", "teacher", "device", "precision", "compile")
# changing these neither changes what is learned nor what has been
FREE_ON_RESUME = ("device", "compile", "prefetch", "log_every", "picture_every", "validate_every", "save_every", "tensorboard")


def load_config(path: Path | None = None, settings: Iterable[str] = (), mode: str | None = None) -> TrainingConfig:
    """Defaults, overridden by a YAML file, overridden by "key=value" settings, which hold for every stage.

    mode: run this one stage alone, with the file's settings for it. Raises ConfigError; OSError where the file cannot be read.
    """
    config = _updated(TrainingConfig(), _read(path)) if path else TrainingConfig()
    if mode is not None:
        own = [stage for stage in config.stages if stage.get("mode", config.mode) == mode]
        config = _updated(replace(config, stages=()), {**(own[0] if own else {}), "mode": mode})
    return override(config, settings)


def override(config: TrainingConfig, settings: Iterable[str]) -> TrainingConfig:
    """The configuration with "key=value" settings, which hold for every stage. Raises ConfigError."""
    given = dict(_setting(text) for text in settings)
    if "stages" in given:
        raise ConfigError("stages cannot be set on the command line; write a file and give it with --config")
    stages = tuple({key: value for key, value in stage.items() if key not in given} for stage in config.stages)
    return _updated(replace(config, stages=stages), given)


def to_plain(config: TrainingConfig) -> dict[str, Any]:
    """The settings as lists, numbers, strings: what YAML and checkpoints hold."""
    return _plain(asdict(config))


def from_plain(settings: Mapping[str, Any]) -> TrainingConfig:
    """The inverse. Raises ConfigError."""
    return _updated(TrainingConfig(), settings)


def first_difference(config: TrainingConfig, saved: Mapping[str, Any]) -> str | None:
    """A key whose settings differ, in words; None where a run with the saved settings may go on with these."""
    ours, theirs = config.stage_configs(), from_plain(saved).stage_configs()
    if len(ours) != len(theirs):
        return f"stages are {len(ours)}, but the run was started with {len(theirs)}"
    for number, (mine, before) in enumerate(zip(ours, theirs), 1):
        for key, value in vars(mine).items():
            if key not in FREE_ON_RESUME and value != getattr(before, key):
                where = f"in stage {number}, " if len(ours) > 1 else ""
                return f"{where}{key} is {_plain(value)}, but the run was started with {_plain(getattr(before, key))}"
    return None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} must hold lines of the form 'key: value'")
    return content or {}


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: write key=value")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is no YAML") from error


def _updated(config: TrainingConfig, settings: Mapping[str, Any]) -> TrainingConfig:
    known = {field.name: field.type for field in fields(config)}
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"there is no setting '{key}'; the nearest is '{near}'")
    return replace(config, **{key: _typed(key, known[key], value) for key, value in settings.items()})


def _typed(key: str, kind: str, value: Any) -> Any:
    """A value from YAML as the type of its field. Raises ConfigError."""
    try:
        if kind == "bool" and isinstance(value, bool) or kind == "str" and isinstance(value, str):
            return value
        if kind == "int" and not isinstance(value, bool) and float(value) == int(float(value)):
            return int(float(value))
        if kind == "float" and not isinstance(value, bool):
            return float(value)         # YAML takes 1e-3 for a string
        if kind == "tuple[int, int]":
            width, height = value
            return int(width), int(height)
        if kind == "Points":
            points = [[0, value]] if isinstance(value, (int, float)) else value
            return tuple((float(progress), float(number)) for progress, number in points)
        if kind.startswith("tuple[Mapping") and all(isinstance(stage, Mapping) for stage in value):
            return tuple(dict(stage) for stage in value)
    except (TypeError, ValueError):
        pass
    wanted = {"Points": "a number or a list of [progress, value]", "tuple[int, int]": "[width, height]", "int": "a whole number",
              "float": "a number", "bool": "true or false", "str": "a word"}.get(kind, "a list of stages, each with its settings")
    raise ConfigError(f"{key} must be {wanted}, not {value!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _check(config: TrainingConfig) -> None:
    if config.mode not in MODES:
        raise ConfigError(f"mode must be one of {', '.join(MODES)}, not {config.mode!r}")
    if config.precision not in PRECISIONS:
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, not {config.precision!r}")
    bounds: dict[str, tuple[float, float]] = {
        **dict.fromkeys(("steps", "pairs", "accumulate", "negative_group", "prefetch", "log_every", "picture_every", "validate_every",
                         "save_every"), (1, math.inf)),
        **dict.fromkeys(("learning_rate", "margin"), (1e-12, math.inf)), "taught_share": (1e-6, 1),
        **dict.fromkeys(("seed", "occluders", "border", "keypoint_cost", "wrong_match_cost", "descriptor_weight",
                         "jitter", "least_apart"), (0, math.inf)),
        **dict.fromkeys(("least_difficulty", "keypoint_cost_ramp", "punish_from"), (0, 1)),
        "dropout": (0, 0.9), "matches": (16, math.inf), "validation_pairs": (3, math.inf)}
    for key, (low, high) in bounds.items():
        value = getattr(config, key)
        if not low <= value <= high or math.isnan(value):
            raise ConfigError(f"{key} must lie in {low:g} to {high:g}, not {value:g}")
    _check_schedules(config)
    _check_sizes(config)
    if len({MODES[stage.get("mode", config.mode)].architecture for stage in config.stages
            if stage.get("mode", config.mode) in MODES}) > 1:
        raise ConfigError("stages: mode light trains another network than the others; give it a run of its own")
    for number, stage in enumerate(config.stages, 1):
        if common := [key for key in WHOLE_RUN if key in stage]:
            raise ConfigError(f"stage {number}: {common[0]} holds for the whole run; set it outside of the stages")
        try:
            _updated(replace(config, stages=()), stage)
        except ConfigError as error:
            raise ConfigError(f"stage {number}: {error}") from error


def _check_schedules(config: TrainingConfig) -> None:
    highest = {"difficulty": 3.0, "rotation": 180.0, "reward_radius": 100.0, "learning_rate_course": 100.0}
    for key, most in highest.items():
        points: Sequence[Sequence[float]] = getattr(config, key)
        progress = [point[0] for point in points]
        if not points or progress != sorted(progress) or not all(0 <= point[0] <= 1 and 0 <= point[1] <= most for point in points):
            raise ConfigError(f"{key} must be a list of [progress, value], progress growing from 0 to 1, values 0 to {most:g}")


def sheet_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the sheet that views of this size are cut from; its margins are whole pixels."""
    return tuple(length + 2 * round(length * (SHEET_MARGIN - 1) / 2) for length in size)


def _check_sizes(config: TrainingConfig) -> None:
    for key in ("crop_size", "photo_size"):
        if min(getattr(config, key)) < LEAST_CROP:
            raise ConfigError(f"{key} must be at least {LEAST_CROP}x{LEAST_CROP}, not {'x'.join(map(str, getattr(config, key)))}")
    sheet = sheet_size(config.crop_size)
    if any(need > have for need, have in zip(sheet, config.photo_size)):
        raise ConfigError(f"photo_size must be at least {sheet[0]}x{sheet[1]} for crop_size {config.crop_size[0]}x{config.crop_size[1]}: "
                          "the warped view shows more than the crop")
    if config.pairs % config.negative_group:
        raise ConfigError(f"negative_group ({config.negative_group}) must divide pairs ({config.pairs})")
