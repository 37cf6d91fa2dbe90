"""The training loop: stages of steps, each resumable at every step."""
from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dalf_core.features.network import Network

from .calibration import calibrate
from .checkpoint import RunError, RunFolder
from .config import TrainingConfig, to_plain
from .data.photo_cache import PhotoCache
from .data.photo_loader import VIEW, PhotoBatch, PhotoLoader
from .data.random_numbers import Share, seeded
from .data.schedule import value_at
from .data.views import Views, make_views
from .distributed import World, average, share_batch_norms
from .losses.fast_layers import autocast_type, make_fast
from .losses.teacher import Teacher
from .memory import FreedMemory
from .modes import MODES, prepare, train_parts
from .report import Report
from .step import Outcome, batch_loss
from .validation import validate, validation_views

DONE, STOPPED = "done", "stopped"


class DivergedError(RuntimeError):
    """The loss or a gradient is not finite."""


@dataclass
class Progress:
    """Where a run stands: stage and steps done in it, the best validation score of the stage, and that score's step."""

    stage: int = 0
    step: int = 0
    best: float = -math.inf
    best_step: int = 0


class Trainer:
    """Trains a network by a configuration. `run` does it; `should_stop` is asked after every step.

    All that is random depends on seed, stage and the number of the batch alone, so a run that goes on from a checkpoint repeats what
    the uninterrupted one would have done, bit for bit on the same CPU.
    """

    def __init__(self, config: TrainingConfig, cache: PhotoCache, folder: RunFolder, world: World, network: Network,
                 metadata: Mapping[str, str] | None = None) -> None:
        self.config, self.stages = config, config.stage_configs()
        self.cache, self.folder, self.world = cache, folder, world
        self.progress = Progress()
        self._metadata = dict(metadata or {})
        for number, stage in enumerate(self.stages, 1):
            if stage.pairs % world.processes or (stage.pairs // world.processes) % stage.negative_group:
                raise ValueError(f"stage {number}: {stage.pairs} pairs cannot be divided among {world.processes} processes in groups of "
                                 f"{stage.negative_group} (settings pairs and negative_group)")
        self._autocast = autocast_type(config.precision, world.device)
        self.network = network.to(world.device, memory_format=torch.channels_last)
        make_fast(self.network, self._autocast)
        share_batch_norms(self.network, world)
        if config.compile:
            self.network.backbone.compile()
            self.network.patch_descriptor.compile()
        taught = any(MODES[stage.mode].taught for stage in self.stages)
        self._teacher = Teacher(config.teacher, world.device) if taught else None
        self._freed = FreedMemory()
        self._saved_optimizer: dict[str, Any] | None = None
        kept = cache.validation()
        self._validation_photos = kept if len(kept) else cache.training()

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> str:
        """Train to the end (DONE) or until should_stop() (STOPPED); the state is saved either way.

        DivergedError: see there; OSError: something cannot be written. The last checkpoint that was saved stays.
        """
        while True:
            if not self._run_stage(should_stop):
                return STOPPED
            if self.progress.stage + 1 == len(self.stages):
                return DONE
            self.progress = Progress(self.progress.stage + 1)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's content. RunError: its tensors are not those of this network."""
        try:
            self.network.load_state_dict(saved["network"])
        except RuntimeError as error:
            raise RunError(f"{self.folder.checkpoint} does not fit the network: {' '.join(str(error).split())[:300]}") from error
        self.progress = Progress(**saved["progress"])
        self._saved_optimizer = saved["optimizer"]

    # ---------------------------------------------------------------- one stage

    def _run_stage(self, should_stop: Callable[[], bool]) -> bool:
        """Whether the stage was brought to its end."""
        config, progress = self.stages[self.progress.stage], self.progress
        parameters = prepare(self.network, MODES[config.mode], config.dropout)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
        if self._saved_optimizer is not None:
            optimizer.load_state_dict(self._saved_optimizer)
            self._saved_optimizer = None
        if progress.step >= config.steps:
            return True
        before = sum(stage.steps for stage in self.stages[:progress.stage])
        views = validation_views(self.cache, self._validation_photos, config, self.world.device) if self.world.leads else {}
        loader = PhotoLoader(self.cache, self.cache.training(), config, progress.stage, progress.step * config.accumulate,
                             self.world.device, self.world.rank, self.world.processes)
        with loader, Report(self.folder, config, progress.stage, progress.step, before, self.world.leads) as report:
            if progress.step == 0:
                self._validate(config, views, report)           # what there is to beat
            report.resume_clock()
            for batches in _chunks(loader, config.accumulate):
                stop = self._step(config, batches, optimizer, parameters, report, should_stop)
                ended = progress.step == config.steps
                if ended or progress.step % config.validate_every == 0:
                    self._validate(config, views, report)
                if ended or stop or progress.step % config.save_every == 0:
                    self._save(optimizer)
                report.resume_clock()
                if stop:
                    return ended and progress.stage + 1 == len(self.stages)
        return True

    def _step(self, config: TrainingConfig, batches: list[PhotoBatch], optimizer: torch.optim.Optimizer,
              parameters: list[torch.nn.Parameter], report: Report, should_stop: Callable[[], bool]) -> bool:
        """One step of the optimiser; whether to stop after it."""
        done = self.progress.step / config.steps
        train_parts(self.network, MODES[config.mode])
        optimizer.zero_grad(set_to_none=False)
        measures = []
        for batch in batches:
            outcome, views = self._batch(config, batch)
            (outcome.loss / config.accumulate).backward()
            measures.append(outcome.measures)
            self._freed.bound()
        mean = torch.stack(measures).mean(dim=0)
        stop = torch.full_like(mean[:1], float(should_stop()))
        gradients = [parameter.grad for parameter in parameters]
        average([*gradients, mean, stop], self.world)
        stopped = self._check_finite(gradients, mean, stop)
        rate = config.learning_rate * value_at(config.learning_rate_course, done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        self.progress.step += 1
        report.step(self.progress.step, mean, rate)
        if self.progress.step % config.picture_every == 0:
            report.pictures(self.progress.step, outcome, views)
        return stopped

    def _batch(self, config: TrainingConfig, batch: PhotoBatch) -> tuple[Outcome, Views]:
        """The loss of one batch. Every random number of it comes from its number, the seed and the stage."""
        key = (config.seed, self.progress.stage, VIEW, batch.number)
        share = Share(seeded(self.world.device, *key), config.pairs, *batch.rows)
        with torch.no_grad():
            views = make_views(batch.sheets, batch.warp, batch.difficulty, share)
        offset = tuple(int(value) for value in np.random.default_rng(key).integers(0, 8, 2))
        torch.manual_seed(seeded("cpu", *key, self.world.rank).initial_seed())        # for dropout
        done = batch.number / (config.steps * config.accumulate)
        return batch_loss(self.network, views, config, done, share, offset, self._autocast, self._teacher), views

    def _check_finite(self, gradients: list[torch.Tensor], measures: torch.Tensor, stop: torch.Tensor) -> bool:
        """Whether `stop` holds. Asked together, for here the program waits for the GPU. DivergedError: see there."""
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        size, loss, stopped = torch.stack([norm, measures[0], stop[0]]).tolist()
        if not math.isfinite(size + loss):
            place = f"step {self.progress.step + 1} of stage {self.progress.stage + 1}"
            raise DivergedError(f"the loss or its gradient is not finite at {place}; what was saved before stays in {self.folder.path}. "
                                "Start anew with a smaller learning_rate or precision=float32; --weights takes up what was saved")
        return stopped > 0

    # ---------------------------------------------------------------- records

    def _validate(self, config: TrainingConfig, views: dict[str, list[Views]], report: Report) -> None:
        progress = self.progress
        if self.world.leads:
            result = validate(self.network, views, config.mode)
            metadata = self._describe(config, views, result.score)
            self.folder.export(self.folder.last, self.network, metadata)
            if result.score > progress.best:
                progress.best, progress.best_step = result.score, progress.step
                self.folder.export(self.folder.best, self.network, metadata)
            report.validation(progress.step, result, progress.best)
        self.world.barrier()

    def _describe(self, config: TrainingConfig, views: dict[str, list[Views]], score: float) -> dict[str, str]:
        """Metadata of the weights; the network must be in evaluation mode."""
        gray = torch.cat([batch.gray_a for batch in views["easy"]])
        recipe = {**to_plain(self.config), "stage": self.progress.stage + 1, "step": self.progress.step}
        return {**self._metadata, "mode": config.mode, "descriptor": MODES[config.mode].descriptors[0], "recipe": json.dumps(recipe),
                "data": f"{len(self.cache.names)} photos, {len(self.cache.held_out)} of them kept apart, listing {self.cache.key}",
                "score": f"{score:.4f}", **calibrate(self.network, gray)}

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        if not self.world.leads:
            return
        self.folder.save({"architecture": self.network.architecture, "network": self.network.state_dict(),
                          "optimizer": optimizer.state_dict(), "progress": vars(self.progress), "config": to_plain(self.config),
                          "photos": self.cache.key, "held_out": sorted(self.cache.held_out), "metadata": self._metadata})


def _chunks(batches: Iterator[PhotoBatch], size: int) -> Iterator[list[PhotoBatch]]:
    iterator = iter(batches)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


class TimeLimit:
    """Call it to ask whether `minutes` have passed since it was made."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def __call__(self) -> bool:
        return time.monotonic() > self._end
