"""A training run from its options: settings, photos, network, loop."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from dalf_core.torch_device import FULL_FLOAT32, choose_device
from dalf_core.weights import ARCHITECTURES, load_network

from .checkpoint import RunError, RunFolder
from .config import CONFIGS, ConfigError, TrainingConfig, first_difference, from_plain, load_config, override, to_plain
from .data.photo_cache import PhotoCache, open_photos
from .data.photos import TABLE, held_out
from .distributed import World, join_world
from .memory import peak
from .modes import MODES
from .trainer import DONE, STOPPED, TimeLimit, Trainer


def train(options: argparse.Namespace, should_stop: Callable[[], bool]) -> None:
    """Do what the options of command.parser ask for, until should_stop(). command.main reports what it raises."""
    if options.minutes is not None and options.minutes <= 0:
        raise ValueError(f"--minutes must be positive, not {options.minutes:g}")
    config, saved = _settings(options)
    if saved is None and options.weights is None and MODES[config.stage_configs()[0].mode].second:
        raise ValueError(f"mode {config.stage_configs()[0].mode} goes on from a first stage: give its weights with --weights")
    folder = RunFolder(options.output)
    with FULL_FLOAT32, join_world(choose_device(config.device)) as world, _held(folder, world):
        if saved is None and world.leads and folder.checkpoint.exists():
            raise RunError(f"{options.output} holds a training run; say --resume to go on with it, or name another folder")
        cache = _photos(options, config, world)
        trainer = _trainer(options, config, saved, cache, folder, world)
        late = TimeLimit(options.minutes) if options.minutes else (lambda: False)
        state = trainer.run(lambda: should_stop() or late())
        if world.leads:
            _tell(options, trainer, state)


def _settings(options: argparse.Namespace) -> tuple[TrainingConfig, dict[str, Any] | None]:
    """The configuration, and on --resume the checkpoint. Raises ConfigError, RunError, OSError."""
    given = [*options.settings]
    for name in ("steps", "device"):
        if (value := getattr(options, name)) is not None:
            given.append(f"{name}={value}")
    if not options.resume:
        return load_config(_config_file(options), given, options.mode), None
    if options.weights is not None:
        raise ValueError("--weights starts a run anew and --resume goes on with one; leave one of them out")
    saved = RunFolder(options.output).load()
    if options.config or options.smoke or options.mode:
        config = load_config(_config_file(options), given, options.mode)
    else:
        config = override(from_plain(saved["config"]), given)
    if difference := first_difference(config, saved["config"]):
        raise ConfigError(f"{difference}; a run goes on with the settings it was started with")
    return config, saved


def _config_file(options: argparse.Namespace) -> Path:
    if options.smoke:
        return CONFIGS / "smoke.yaml"
    if options.config is None:
        return CONFIGS / "default.yaml"
    named = CONFIGS / f"{options.config}.yaml"
    return named if not options.config.exists() and named.is_file() else options.config


@contextmanager
def _held(folder: RunFolder, world: World) -> Iterator[None]:
    """The folder locked by the process that writes to it."""
    if world.leads:
        with folder:
            yield
    else:
        yield


def _photos(options: argparse.Namespace, config: TrainingConfig, world: World) -> PhotoCache:
    """The photos; one process of each machine makes the cache, the others wait."""
    least = tuple(max(stage.crop_size[axis] for stage in config.stage_configs()) for axis in (0, 1))
    arguments = (options.images, config.photo_size, least, options.cache)
    if not world.makes_caches:
        world.barrier()
    cache = open_photos(*arguments, progress=world.leads)
    if world.makes_caches:
        world.barrier()
    if world.leads:
        for name, reason in cache.skipped:
            print(f"skipped: {name} {reason}", file=sys.stderr)
        learned, kept = len(cache.training()), len(cache.validation())
        print(f"{learned} photos to learn from, {kept} kept for validation", file=sys.stderr)
        if cache.unlisted:
            print(f"warning: {cache.unlisted} photos are not listed in {TABLE}; each is taken for the only one of its source",
                  file=sys.stderr)
        if not kept:
            print("warning: no photo is kept for validation (about one in ten is, by its name); validating on those it learns from",
                  file=sys.stderr)
    return cache


def _trainer(options: argparse.Namespace, config: TrainingConfig, saved: dict[str, Any] | None, cache: PhotoCache, folder: RunFolder,
             world: World) -> Trainer:
    if saved is not None:
        trainer = Trainer(config, cache, folder, world, ARCHITECTURES[saved["architecture"]](), saved["metadata"])
        if saved["photos"] != cache.key:
            raise RunError(f"images: the photos in {options.images} are not those the run was started with")
        if moved := cache.held_out ^ held_out_before(saved, cache):
            raise RunError(f"images: of the photos in {options.images}, {len(moved)} (such as {min(moved)}) were kept for validation when "
                           f"the run was started and are not now, or the reverse; put {TABLE} back as it was, or start anew")
        trainer.restore(saved)
        if world.leads:
            folder.cut_history(trainer.progress.stage, trainer.progress.step)
            print(f"going on after step {trainer.progress.step} of stage {trainer.progress.stage + 1}", file=sys.stderr)
        return trainer
    torch.manual_seed(config.seed)
    architecture = MODES[config.stage_configs()[0].mode].architecture
    network, start = ARCHITECTURES[architecture](), "random weights"
    if options.weights is not None:
        network, loaded = load_network(options.weights)
        if network.architecture != architecture:
            raise ValueError(f"{loaded.source} is a network of kind {network.architecture!r}, the mode trains one of kind "
                             f"{architecture!r}: "
                             "give other --weights or another --mode")
        start = Path(loaded.source).name
    if world.leads:
        folder.write(folder.config, yaml.safe_dump(to_plain(config), sort_keys=False, default_flow_style=None).encode())
        folder.history.unlink(missing_ok=True)
    return Trainer(config, cache, folder, world, network, {"start": start, "images": options.images.resolve().name})


def held_out_before(saved: dict[str, Any], cache: PhotoCache) -> frozenset[str]:
    """The photos that the run of a checkpoint keeps for validation; those of runs before there were tables of sources go by their names."""
    return frozenset(saved["held_out"] if "held_out" in saved else filter(held_out, cache.names))


def _tell(options: argparse.Namespace, trainer: Trainer, state: str) -> None:
    progress, folder = trainer.progress, trainer.folder
    on_gpu = trainer.world.device.type == "cuda"
    most = torch.cuda.max_memory_reserved(trainer.world.device) if on_gpu else peak()
    print(f"peak memory: {most / 1e9:.1f} GB{' of the GPU' if on_gpu else ''}", file=sys.stderr)
    if state == STOPPED:
        print(f"stopped after step {progress.step} of stage {progress.stage + 1} and saved; the same command with --resume goes on",
              file=sys.stderr)
    if folder.best.exists():
        kind = MODES[trainer.stages[progress.stage].mode].descriptors[0]
        print(f"best weights: {folder.best} (score {progress.best:.3f} at step {progress.best_step} of stage {progress.stage + 1})\n"
              f"use them by DALF(weights='{folder.best}'{'' if kind == 'fused' else f', descriptor={kind!r}'})")
    if trainer.config.tensorboard:
        print(f"curves and pictures: ./run exec tensorboard --logdir {folder.path}")
    if state == DONE and options.smoke:
        print("all works; for useful weights, give the same command without --smoke and with another --output")
    elif state == DONE:
        print(f"compare them: ./run evaluate --photos {options.images} --weights default {folder.best}")
