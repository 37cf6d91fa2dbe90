"""Progress bar, history and TensorBoard of a run."""
from __future__ import annotations

import sys
import time
from typing import Any

import torch

from dalf_core.progress_bar import progress_bar

from .checkpoint import RunFolder, writing
from .config import TrainingConfig
from .data.views import Views
from .pictures import batch_pictures
from .step import MEASURES, Outcome
from .validation import Validation

LOG_SECONDS = 10.0      # between lines of the progress bar where it is no terminal


class Report:
    """Records of one stage. In processes that do not lead it does nothing. Hold it in a `with` block."""

    def __init__(self, folder: RunFolder, config: TrainingConfig, stage: int, step: int, before: int, leads: bool) -> None:
        self._folder, self._config, self._stage, self._before, self._leads = folder, config, stage, before, leads
        self._writer = self._open_tensorboard(before + step) if leads and config.tensorboard else None
        self._bar = progress_bar(total=config.steps, initial=step, desc=f"stage {stage + 1}, {config.mode}", unit="step", disable=not leads,
                         dynamic_ncols=True, mininterval=0.2 if sys.stderr.isatty() else LOG_SECONDS)
        self._best = ""
        self._since, self._seconds = time.perf_counter(), 0.0       # of the steps since the last record
        self._measures: list[torch.Tensor] = []         # of the steps since the last record

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._writer:
            with writing(self._folder.tensorboard):
                self._writer.close()

    def _open_tensorboard(self, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RuntimeError("TensorBoard is not installed: pip install tensorboard, or say --set tensorboard=false") from error
        with writing(self._folder.tensorboard):
            return SummaryWriter(str(self._folder.tensorboard), purge_step=step + 1 if step else None)

    def step(self, step: int, measures: torch.Tensor, learning_rate: float) -> None:
        """After each step. measures: see step.Outcome; their mean since the last record is reported."""
        if not self._leads:
            return
        self._bar.update(1)
        self._measures.append(measures)
        self._seconds += time.perf_counter() - self._since
        self.resume_clock()
        if step % self._config.log_every and step != self._config.steps:
            return
        count = len(self._measures)
        values = dict(zip(MEASURES, torch.stack(self._measures).mean(dim=0).tolist()))
        values["pairs_per_second"] = self._config.pairs * self._config.accumulate * count / self._seconds
        self._seconds = 0.0
        self._measures.clear()
        self._bar.set_postfix_str(f"loss {values['loss']:.4f}, reward {values['matches']:.1f}, right {values['accuracy']:.0%}, "
                                  f"{values['pairs_per_second']:.1f} pairs/s{self._best}")
        self._folder.append_history({"stage": self._stage, "step": step, "mode": self._config.mode, **values,
                                     "learning_rate": learning_rate})
        self._scalars("training", {**values, "learning_rate": learning_rate}, step)

    def resume_clock(self) -> None:
        """What was done since the last step is no training: pairs_per_second leaves it out."""
        self._since = time.perf_counter()

    def validation(self, step: int, result: Validation, best: float) -> None:
        """After a validation. best: the best score so far."""
        if not self._leads:
            return
        self._best = f", score {result.score:.3f} (best {best:.3f})"
        self._folder.append_history({"stage": self._stage, "step": step, "mode": self._config.mode, "score": result.score, **vars(result)})
        for name, levels in vars(result).items():
            self._scalars(f"validation/{name}", levels, step)
        self._scalars("validation", {"score": result.score}, step)

    def pictures(self, step: int, outcome: Outcome, views: Views) -> None:
        """Heatmaps, matches and patches of a batch."""
        if self._writer:
            with writing(self._folder.tensorboard):
                for name, picture in batch_pictures(outcome, views).items():
                    self._writer.add_image(name, picture[:, :, ::-1].copy(), self._before + step, dataformats="HWC")
                self._writer.flush()

    def _scalars(self, group: str, values: dict[str, float], step: int) -> None:
        if self._writer:
            with writing(self._folder.tensorboard):
                for name, value in values.items():
                    self._writer.add_scalar(f"{group}/{name}", value, self._before + step)
                self._writer.flush()
