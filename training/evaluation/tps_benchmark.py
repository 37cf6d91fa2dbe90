"""Folders in the layout of VeRLab's benchmark of real deforming objects: what lies where, and the true map of each image pair.

    IMAGES/Kinect1/OBJECT/cloud_master-rgb.png              the object at rest
    IMAGES/Kinect1/OBJECT/cloud_7-rgb.png                   and bent; the pair's name is what comes before "-rgb", a number at its end
    TRUTH/Kinect1/OBJECT/cloud_master_objmask.png           nonzero on the object
    TRUTH/Kinect1/OBJECT/cloud_7_objmask.png
    TRUTH/Kinect1/OBJECT/cloud_7_SSIM.png                   0 to 255: how alike both images look there, once aligned by the true map
    TRUTH/Kinect1/OBJECT/cloud_7_theta.npy, cloud_7_ctrlpts.npy     a thin-plate spline from the bent image to the one at rest

The layout and the conventions are those that the evaluation of verlab/DALF_CVPR_2023 reads (its folder eval/).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from dalf_core.features.thin_plate_spline import radial_kernel, reduced_basis
from dalf_core.files.picture_file import read_picture

DATASETS = ("Kinect1", "Kinect2Sampled", "DeSurTSampled", "SimulationICCV")
# Objects whose names hold one of these do not count in the original's tables.
LEFT_OUT = ("chambre_light", "chambre_medium", "cloth", "stone", "Bag1", "newspaper2")
LEAST_ALIKE = 0.25      # of SSIM, 0 to 1: where the true map is trusted
IMAGE = "-rgb.png"


@dataclass(frozen=True)
class DeformingObject:
    """One object: its image at rest and its bent ones, with where each one's truth lies. targets: names such as cloud_7, in order.

    images, truth: folders. reference: name of the image at rest, such as cloud_master.
    """

    dataset: str
    name: str
    images: Path
    truth: Path
    reference: str
    targets: tuple[str, ...]

    def image(self, name: str) -> np.ndarray:
        """HxWx3 uint8 BGR. OSError: it cannot be read."""
        return read_picture(self.images / f"{name}{IMAGE}")

    def reference_mask(self) -> np.ndarray:
        """(H, W) bool, where keypoints of the image at rest count."""
        return _gray(self.truth / f"{self.reference}_objmask.png") > 0

    def target_mask(self, name: str) -> np.ndarray:
        """(H, W) bool, where keypoints of a bent image count: on the object, and where the true map is trusted."""
        mask, alike = _gray(self.truth / f"{name}_objmask.png"), _gray(self.truth / f"{name}_SSIM.png") / 255
        if mask.shape != alike.shape:
            raise ValueError(f"{self.truth}: {name}_objmask.png and {name}_SSIM.png differ in size")
        return (mask > 0) & (alike > LEAST_ALIKE)

    def spline(self, name: str, size: tuple[int, int]) -> TrueSpline:
        """The map of a bent image of size (width, height) to the one at rest. ValueError: its files hold no spline."""
        theta, control = (_array(self.truth / f"{name}_{kind}.npy") for kind in ("theta", "ctrlpts"))
        theta, control = (array[0] if array.ndim == 3 and len(array) == 1 else array for array in (theta, control))
        points = len(control)
        if control.shape != (points, 2) or theta.shape not in ((points + 3, 2), (points + 2, 2)):
            raise ValueError(f"{self.truth}: {name}_theta.npy {theta.shape} and {name}_ctrlpts.npy {control.shape} are no spline; it has "
                             "T control points (T, 2) and T + 3 or T + 2 parameters (T + 3, 2)")
        return TrueSpline(theta, control, size)


@dataclass(frozen=True)
class TrueSpline:
    """A thin-plate spline between images. Its unit is the size (width, height) in pixels: the first pixel's centre is 0, 0.

    control: (T, 2). theta: (T + 3, 2) weights of the control points, then offset, x and y coefficients, all of the displacement; in
    (T + 2, 2), the reduced form, the first weight is left out: all weights sum to zero.
    """

    theta: np.ndarray
    control: np.ndarray
    size: tuple[int, int]

    def apply(self, xy: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of the bent image to pixels (N, 2) of the image at rest, float64."""
        points = torch.from_numpy(np.asarray(xy, np.float64) / self.size)
        control = torch.from_numpy(self.control)
        if len(self.theta) == len(control) + 2:
            basis = reduced_basis(points, control)
        else:
            basis = torch.cat([radial_kernel(points, control), torch.ones_like(points[:, :1]), points], dim=1)
        return (points + basis @ torch.from_numpy(self.theta)).numpy() * self.size


def find_objects(images: Path, truth: Path, datasets: Sequence[str] | None = None) -> list[DeformingObject]:
    """The objects of some datasets, by default of those of DATASETS that are there; LEFT_OUT ones are not among them.

    ValueError or FileNotFoundError: a folder or a file is missing; it is named.
    """
    for folder in (images, truth):
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder")
    names = dict.fromkeys(datasets) if datasets else [name for name in DATASETS if (images / name).is_dir()]
    if not names:
        raise ValueError(f"{images} holds none of the folders {', '.join(DATASETS)}: give the folder that they lie in")
    found = []
    for dataset in names:
        if not (images / dataset).is_dir():
            raise ValueError(f"{images} holds no folder {dataset}")
        folders = sorted(path for path in (images / dataset).iterdir() if path.is_dir())
        kept = [path for path in folders if not any(word in path.name for word in LEFT_OUT)]
        if not kept:
            raise ValueError(f"{images / dataset} holds no folders of objects")
        found += [_object(path, truth / dataset / path.name) for path in kept]
    return found


def _object(images: Path, truth: Path) -> DeformingObject:
    names = sorted(path.name.removesuffix(IMAGE) for path in images.glob(f"*{IMAGE}"))
    references = [name for name in names if name.endswith("master")]
    targets = sorted((name for name in names if name[-1:].isdigit()), key=lambda name: (len(name), name))
    if len(references) != 1:
        raise ValueError(f"{images} must hold one image *master{IMAGE}; there are {len(references)}")
    if not targets:
        raise ValueError(f"{images} holds no image *[0-9]{IMAGE}")
    wanted = [f"{references[0]}_objmask.png"]
    wanted += [f"{name}_{kind}" for name in targets for kind in ("objmask.png", "SSIM.png", "theta.npy", "ctrlpts.npy")]
    if missing := [name for name in wanted if not (truth / name).is_file()]:
        more = f" (and {len(missing) - 1} more of its files)" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{truth / missing[0]} is missing{more}: {images} needs it")
    return DeformingObject(images.parent.name, images.name, images, truth, references[0], tuple(targets))


def _gray(path: Path) -> np.ndarray:
    """(H, W) uint8."""
    return cv2.cvtColor(read_picture(path), cv2.COLOR_BGR2GRAY)


def _array(path: Path) -> np.ndarray:
    """float64, finite. ValueError: the file holds something else, or is damaged."""
    try:
        array = np.load(path, allow_pickle=False).astype(np.float64)
    except (OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as an array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{path} holds values that are not finite")
    return array
