"""A library: the templates of a folder, and which of them a picture shows."""
from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..image_matching.match_images import ImageMatches, match_images
from ..matching.nearest_neighbours import match
from ..matching.verification import verify
from ..types import Features
from .template import Template, TemplateError
from .template_file import SUFFIX, load_template
from .voting import DescriptorIndex

if TYPE_CHECKING:
    from ..features.extractor import DALF

VOTING = 256                # strongest keypoints of a template, and of an image, that vote
COMPARED = 1024             # strongest keypoints of either that are matched to one another
SHORTLIST = 4               # templates that are matched, those with the most votes
SURE = 60                   # verified matches with which the rest of the shortlist need not be tried
LEAST = 30                  # verified matches of the last look, of which half of the pictures that have them show the template
STEEPNESS = 5.0             # of the confidence, a unit of log(verified / LEAST)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A template that an image may show. votes: share of all votes. verified: matches that hold, after one look."""

    name: str
    votes: float
    verified: int


@dataclass(frozen=True)
class Recognition:
    """What an image shows. name: None where it is none of the templates. confidence: 0 to 1, that it is the best candidate.

    candidates: best first. matches: of the best candidate to the image, all looks; None where none was tried.
    """

    name: str | None
    confidence: float
    candidates: list[Candidate]
    matches: ImageMatches | None


@dataclass(frozen=True)
class _Entry:
    path: Path | None
    template: Template | None           # of a file: read again when it is needed
    features: Features
    seen: tuple[int, int]               # time of change and size of the file when it was read


class Library:
    """Templates to recognise. dalf: the extractor of images; templates of another one are extracted anew.

    image_scale: by what factor images are resized first. Not thread-safe.
    """

    def __init__(self, dalf: DALF, image_scale: float = 1.0) -> None:
        self.dalf, self.image_scale = dalf, image_scale
        self.folder: Path | None = None
        self.extracted_anew: list[str] = []     # names of templates whose features were another extractor's
        self._clear()

    def _clear(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._index: DescriptorIndex | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> list[str]:
        """Of the templates."""
        return list(self._entries)

    def add(self, template: Template, path: Path | None = None, seen: tuple[int, int] = (0, 0)) -> None:
        """One more. path: its file, from which picture and depth are read when they are needed. TemplateError: a name that is taken."""
        if template.name in self._entries:
            raise TemplateError(f"there are two templates of the name {template.name}: " +
                                " and ".join(str(where) for where in (self._entries[template.name].path, path) if where) + "; rename one")
        ready = template.with_features(self.dalf, self.image_scale)
        assert ready.features is not None
        if template.features is not None and ready is not template:
            self.extracted_anew.append(template.name)
        kept = replace(ready.features.strongest(COMPARED), on_device=None)
        self._learn(len(self._entries), kept)
        self._entries[template.name] = _Entry(path, None if path else ready, kept, seen)

    def _learn(self, number: int, features: Features) -> None:
        """Let the features of template `number` vote for it."""
        if self._index is None:
            self._index = DescriptorIndex(features.descriptors.shape[1])
        self._index.add(number, features.descriptors[:VOTING])

    def read_folder(self, folder: Path, progress: Callable[[Iterable[Path]], Iterable[Path]] = iter) -> list[str]:
        """The templates of a folder; of one that was read before, what has changed since. Returns what is wrong with files left out.

        Raises OSError where the folder cannot be read, TemplateError where it holds no sound template.
        """
        if not folder.is_dir():
            what = "is a file: name the folder that it is in" if folder.exists() else "does not exist"
            raise TemplateError(f"the library {folder} {what}")
        files = sorted(folder.glob(f"*{SUFFIX}"))
        now = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}
        known = {entry.path: entry.seen for entry in self._entries.values() if entry.path}
        if any(now.get(path) != seen for path, seen in known.items() if path) or self.folder not in (None, folder):
            self._clear()       # one was changed or removed: votes cannot be taken back
            known = {}
        self.folder, problems = folder, []
        for path in progress([path for path in files if path not in known]):
            try:
                self.add(load_template(path), path, now[path])
            except (TemplateError, OSError, ValueError) as error:
                problems.append(str(error))
        if not self._entries:
            raise TemplateError(f"{folder} holds no template that can be used (*{SUFFIX}); ./run template make SOURCE --output "
                                f"{folder}/NAME{SUFFIX} puts one there" + "".join(f"\n{text}" for text in problems))
        return problems

    def template(self, name: str) -> Template:
        """One of them, whole, with features of this extractor. Raises KeyError, TemplateError, OSError (its file has changed or gone)."""
        entry = self._entries[name]
        whole = entry.template or load_template(entry.path)     # type: ignore[arg-type]
        return whole.with_features(self.dalf, self.image_scale)

    def recognise(self, image: np.ndarray, features: Features | None = None) -> Recognition:
        """Which template an image shows, or none: by votes, then by verified matches of the best, at last by a second look if need be.

        image: as DALF.extract takes it. features: of it, if they are known. ValueError: an image that nothing can be extracted from.
        """
        features = self.dalf.extract(image) if features is None else features
        return self.confirmed(self.candidates(features), image, features)

    def confirmed(self, candidates: list[Candidate], image: np.ndarray, features: Features) -> Recognition:
        """The last look of recognise: whether an image, with its features, shows the first of these candidates."""
        if not candidates:
            return Recognition(None, 0.0, [], None)
        template = self.template(candidates[0].name)
        assert template.features is not None
        found = match_images(template.features.strongest(COMPARED), image, dalf=self.dalf, features_b=features, picture_a=template.image)
        confidence = confidence_of(found.verified_unaligned)
        return Recognition(candidates[0].name if confidence >= 0.5 else None, confidence, candidates, found)

    def candidates(self, features: Features) -> list[Candidate]:
        """The shortlist, best first: those with the most votes, in the order of their verified matches."""
        if not self._entries:
            return []
        scores = self.scores(features)
        names, query, tried = self.names, features.strongest(COMPARED), []
        for number in np.argsort(-scores, kind="stable")[:SHORTLIST]:
            reference = self._entries[names[number]].features
            pairs = match(reference, query)
            verified = int(verify(reference, query, pairs).sum())
            tried.append(Candidate(names[number], float(scores[number]), verified))
            if verified >= SURE:
                break
        return sorted(tried, key=lambda candidate: -candidate.verified)

    def scores(self, features: Features) -> np.ndarray:
        """(templates,) float64, the share of the votes of an image's features that each template gets, in the order of names."""
        assert self._index is not None
        votes = self._index.votes(features.strongest(VOTING).descriptors, len(self._entries))
        return votes / max(votes.sum(), 1e-12)


def confidence_of(verified: int) -> float:
    """That a picture shows a template with so many verified matches: a logistic curve, half at LEAST (docs/templates.md)."""
    return 1.0 / (1.0 + math.exp(-STEEPNESS * math.log(max(verified, 0.5) / LEAST)))
