"""DALF against the official code's outputs, and its behaviour on all kinds of images."""
from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch

from dalf_core import DALF, match
from dalf_core.features import extractor
from dalf_core.features.extractor import MULTI_SCALE
from dalf_core.features.image_input import to_gray
from dalf_core.features.keypoints import find_keypoints
from dalf_core.features.network import DalfNetwork
from dalf_core.types import Features
from dalf_core.weights import OFFICIAL_FILE, save_weights

from ..feature_fixtures import textured

CROP = (slice(20, 441), slice(1, 638))      # where reference_kanagawa_1_crop_421x637 was cut
ROUNDING = 5e-3         # of heatmap values, up to 462, between processors; the networks' sums differ by 1e-4


@pytest.fixture(scope="module")
def official(data_folder) -> str:
    return str(data_folder / "dalf" / OFFICIAL_FILE)


@pytest.fixture(scope="module")
def dalf(official) -> DALF:
    return DALF(official, device="cpu", top_k=1000, precision="float32")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> DALF:
    """Random weights: needs no test data. Every local maximum counts."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(DalfNetwork(), path)
    return DALF(path, device="cpu", top_k=100, threshold=-1e9, precision="float32")


# ---------------------------------------------------------------- parity

@pytest.fixture(scope="module")
def original(official) -> DALF:
    return DALF(official, device="cpu", top_k=512, geometry="original", precision="float32")


def prominence(heatmap: np.ndarray) -> np.ndarray:
    """(H, W): by how much each sample exceeds its highest neighbour. Rounding decides the sign where this is near zero: on plateaus."""
    ring = np.ones((3, 3), np.uint8)
    ring[1, 1] = 0
    return heatmap - cv2.dilate(heatmap, ring)


@pytest.mark.parametrize("name", ["kanagawa_1", "kanagawa_2", "bag_000", "bag_150", "kanagawa_1_crop_421x637"])
def test_original_geometry_is_the_official_code(data_folder, original, name):
    """Only what every processor agrees on: official keypoints that stand out from their neighbours, not those on plateaus."""
    expected = np.load(data_folder / "dalf" / f"reference_{name}.npz")
    image = cv2.imread(str(data_folder / "dalf" / f"{name.removesuffix('_crop_421x637')}.png"))
    image = image[CROP] if "crop" in name else image
    gray = torch.from_numpy(to_gray(image))[None, None]
    with torch.inference_mode():
        maps, features = original._pipeline.maps(gray)
        places, scores = (values.numpy() for values in find_keypoints(maps[0, 0], original.threshold, "original"))
        descriptors = original._pipeline.describe(gray, features, torch.from_numpy(expected["keypoints"])).numpy()
    heatmap = maps[0, 0].numpy()
    half_a_step = np.spacing(np.abs(expected["heatmap"])).astype(np.float32) / 2
    assert (np.abs(heatmap - expected["heatmap"].astype(np.float32)) < half_a_step + ROUNDING).all()

    def prominent(keypoints: np.ndarray) -> np.ndarray:
        return prominence(heatmap)[keypoints[:, 1].astype(int), keypoints[:, 0].astype(int)] > ROUNDING

    found = dict(zip(map(tuple, places.tolist()), (scores / heatmap.max()).tolist()))
    wanted = dict(zip(map(tuple, expected["keypoints"].tolist()), expected["scores"].tolist()))
    sure = [tuple(xy) for xy in expected["keypoints"][prominent(expected["keypoints"])].tolist()]
    assert len(sure) > 130
    assert {xy: found.get(xy) for xy in sure} == pytest.approx({xy: wanted[xy] for xy in sure}, abs=1e-5)
    among_strongest = scores / heatmap.max() > expected["scores"].min() + 1e-5
    assert {tuple(xy) for xy in places[prominent(places) & among_strongest].tolist()} <= wanted.keys()
    assert (descriptors * expected["descriptors"]).sum(axis=1).min() >= 0.9999


def test_extraction_in_original_geometry_is_the_official_code(data_folder, original, picture):
    """The whole way, on a picture without plateaus."""
    expected = np.load(data_folder / "dalf" / "reference_bag_000.npz")
    features = original.extract(picture)
    assert features.image_size == (640, 360) and len(features) == 512
    rows = {tuple(xy): row for row, xy in enumerate(expected["keypoints"].tolist())}
    common = np.array([tuple(xy) in rows for xy in features.keypoints.tolist()])
    assert common.mean() >= 0.995               # the last ones may change places with the next
    theirs = [rows[tuple(xy)] for xy in features.keypoints[common].tolist()]
    assert (features.descriptors[common] * expected["descriptors"][theirs]).sum(axis=1).min() >= 0.9999
    assert np.abs(features.scores[common] - expected["scores"][theirs]).max() < 1e-5


# ---------------------------------------------------------------- geometry

def agreement(first: Features, second: Features, back: np.ndarray, margin: float = 40) -> tuple[float, float, float]:
    """Of the second's keypoints, mapped back into the first image: the part found again within 1 px, the median distance there, and
    the median descriptor cosine. Keypoints near the rim of the first image, and the weakest, are left out."""
    width, height = first.image_size
    inner = ((back > margin) & (back < [width - margin, height - margin])).all(axis=1) & (np.arange(len(back)) < 0.7 * len(back))
    distance = np.linalg.norm(back[inner][:, None] - first.keypoints[None], axis=2)
    nearest, distance = distance.argmin(axis=1), distance.min(axis=1)
    found = distance < 1
    cosine = (first.descriptors[nearest] * second.descriptors[inner]).sum(axis=1)[found]
    return float(found.mean()), float(np.median(distance[found])), float(np.median(cosine))


@pytest.fixture(scope="module")
def picture(data_folder) -> np.ndarray:
    return cv2.imread(str(data_folder / "dalf" / "bag_000.png"))


@pytest.fixture(scope="module")
def whole(dalf, picture) -> Features:
    return dalf.extract(picture)


def median_offset(first: Features, back: np.ndarray) -> np.ndarray:
    """Median x and y difference, pixels, of the second's keypoints mapped back to the first's nearest ones; beyond 2 px none counts."""
    offset = back[:, None] - first.keypoints[None]
    offset = offset[np.arange(len(back)), np.linalg.norm(offset, axis=2).argmin(axis=1)]
    return np.median(offset[np.linalg.norm(offset, axis=1) < 2], axis=0)


@pytest.mark.parametrize(("top", "left"), [(8, 16), (9, 3)])
def test_a_cropped_image_gives_cropped_keypoints(dalf, picture, whole, top, left):
    cut = dalf.extract(picture[top:-7, left:-4])
    found, distance, cosine = agreement(whole, cut, cut.keypoints + [left, top])
    assert found > 0.9 and distance < 0.3 and cosine > 0.97


def test_a_turned_image_gives_turned_keypoints(official, picture):
    """Not all: the official weights themselves are not the same in all directions. But none is systematically beside."""
    dalf = DALF(official, device="cpu", top_k=1000, descriptor="polar", precision="float32")
    whole, turned = dalf.extract(picture), dalf.extract(np.rot90(picture))
    back = np.stack([whole.image_size[0] - 1 - turned.keypoints[:, 1], turned.keypoints[:, 0]], axis=1)
    found, _, cosine = agreement(whole, turned, back)
    assert found > 0.6 and cosine > 0.9         # the original geometry finds 0.24
    assert np.abs(median_offset(whole, back)).max() < 0.2


def test_a_mirrored_image_gives_mirrored_keypoints_without_bias(dalf, picture, whole):
    """The official detector is a quarter of a pixel off to the right and down; mirrored images show it."""
    mirrored = dalf.extract(np.ascontiguousarray(picture[::-1, ::-1]))
    assert np.abs(median_offset(whole, np.array(whole.image_size) - 1 - mirrored.keypoints)).max() < 0.2


# ---------------------------------------------------------------- conventions

def test_opencv_convention(dalf, picture, whole):
    keypoints, descriptors = dalf.detectAndCompute(picture)
    assert isinstance(keypoints, list) and isinstance(keypoints[0], cv2.KeyPoint)
    assert descriptors.dtype == np.float32 and descriptors.shape == (len(keypoints), 128)
    assert np.allclose([k.pt for k in keypoints], whole.keypoints) and np.array_equal(descriptors, whole.descriptors)
    responses = [k.response for k in keypoints]
    assert responses == sorted(responses, reverse=True) and responses[0] <= 1
    assert np.allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)
    assert len(np.unique(whole.keypoints.round(1), axis=0)) == len(whole)


def test_a_mask_only_takes_away(official, picture):
    dalf = DALF(official, device="cpu", top_k=4000, descriptor="backbone", precision="float32")
    whole = dalf.extract(picture)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[100:260, 200:500] = 7
    masked = dalf.extract(picture, mask)
    pixel = whole.keypoints.round().astype(int)
    inside = mask[pixel[:, 1], pixel[:, 0]] > 0
    assert 20 < inside.sum() < len(whole)
    assert np.array_equal(masked.keypoints, whole.keypoints[inside])
    assert np.allclose(masked.descriptors, whole.descriptors[inside], atol=1e-5)
    assert len(dalf.extract(picture, np.ones(mask.shape, bool))) == len(whole)
    dalf.top_k = 10
    assert np.array_equal(dalf.extract(picture, mask).keypoints, masked.keypoints[:10])


@pytest.mark.parametrize(("descriptor", "length"), [("fused", 128), ("polar", 64), ("backbone", 64)])
def test_kinds_of_descriptor(official, picture, descriptor, length):
    dalf = DALF(official, device="cpu", top_k=20, descriptor=descriptor, precision="float32")
    assert dalf.extract(picture).descriptors.shape == (20, length)


def test_kinds_of_image_are_equivalent(untrained):
    image = textured(128, 96)
    gray = image.mean(axis=2, dtype=np.float64)
    expected = untrained.extract(image)
    assert len(expected) == 100
    for same in (np.dstack([image, np.full(gray.shape, 9, np.uint8)]), image.astype(np.float32) / 255, image / 255,
                 (gray / 255).astype(np.float32), (gray / 255)[:, :, None], np.asfortranarray(image), image[::-1].copy()[::-1]):
        features = untrained.extract(same)
        assert len(features) == 100
        assert (features.descriptors * expected.descriptors).sum(axis=1).min() > 0.999
    flat = np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    assert np.allclose(to_gray(flat), to_gray(flat[:, :, 0]), atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 47), (64, 32), (39, 101)])
def test_small_and_odd_images(untrained, width, height):
    features = untrained.extract(textured(width, height))
    assert features.image_size == (width, height) and np.isfinite(features.descriptors).all()
    if len(features):
        assert features.keypoints.min() >= 0 and (features.keypoints <= [width - 1, height - 1]).all()


@pytest.mark.parametrize("count", [0, 1, 15, 16])
@pytest.mark.parametrize("geometry", ["original", "corrected"])
def test_few_keypoints(official, count, geometry):
    dalf = DALF(official, device="cpu", top_k=max(count, 1), geometry=geometry, threshold=1e9 if count == 0 else 25,
                precision="float32")
    features = dalf.extract(textured(160, 120))
    assert features.keypoints.shape == (count, 2) and features.descriptors.shape == (count, 128) and features.scores.shape == (count,)
    assert np.isfinite(features.descriptors).all()


def test_an_empty_mask_gives_nothing(untrained):
    image = textured(64, 64)
    assert len(untrained.extract(image, np.zeros((64, 64), np.uint8))) == 0
    keypoints, descriptors = untrained.detectAndCompute(image, np.zeros((64, 64), np.uint8))
    assert keypoints == [] and descriptors.shape == (0, 128)


# ---------------------------------------------------------------- many images, many scales, little memory

@pytest.mark.parametrize("together", [1, 3])
def test_a_batch_gives_what_single_images_give(monkeypatch, untrained, together):
    monkeypatch.setitem(extractor.BATCH, "cpu", together)
    images = [textured(96, 64, seed) for seed in range(4)] + [textured(64, 96, 9)]
    mask = np.zeros((64, 96), np.uint8)
    mask[20:50, 30:80] = 1
    masks = [None, mask, None, None, None]
    results = untrained.extract_batch(images, masks)
    assert [result.image_size for result in results] == [(96, 64)] * 4 + [(64, 96)]
    for image, own_mask, result in zip(images, masks, results):
        alone = untrained.extract(image, own_mask)
        assert len(alone) == len(result) > 10
        assert np.allclose(alone.keypoints, result.keypoints, atol=1e-3)
        assert (alone.descriptors * result.descriptors).sum(axis=1).min() > 0.9999
    assert untrained.extract_batch([]) == []
    with pytest.raises(ValueError, match="5 images but 1 masks"):
        untrained.extract_batch(images, [None])


def test_scales_share_the_keypoints(official, picture):
    dalf = DALF(official, device="cpu", top_k=200, scales=MULTI_SCALE, precision="float32")
    features = dalf.extract(picture)
    scales, counts = np.unique(features.scales, return_counts=True)
    assert len(features) == 200 and (np.diff(features.scores) <= 0).all()
    assert scales == pytest.approx(MULTI_SCALE) and counts[1:].min() >= 50 and counts[0] > 10
    assert (features.keypoints >= 0).all() and (features.keypoints <= [639, 359]).all()
    sizes = {round(6 / keypoint.size, 3) for keypoint in dalf.detect(picture)}
    assert sizes == {round(scale, 3) for scale in MULTI_SCALE}


def test_a_coarse_scale_finds_what_the_small_image_shows(official, picture):
    """Half of an image of twice the size is the image: the same keypoints, where they lie in the large one."""
    large = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    whole = DALF(official, device="cpu", top_k=100, descriptor="backbone", precision="float32").extract(picture)
    coarse = DALF(official, device="cpu", top_k=100, descriptor="backbone", scales=[0.5], precision="float32").extract(large)
    assert np.allclose(coarse.keypoints, whole.keypoints * 2 + 0.5, atol=0.01)
    assert np.allclose(coarse.descriptors, whole.descriptors, atol=1e-4)
    tiny = DALF(official, device="cpu", top_k=10, descriptor="backbone", scales=[0.1, 1.0], precision="float32").extract(picture[:64, :64])
    assert (tiny.scales == 1).all()             # a tenth of it would be too small to look at


def test_little_memory_means_smaller_steps_then_an_error(monkeypatch, untrained, caplog):
    image = textured(96, 64)
    expected = untrained.extract(image)
    describe, room = DalfNetwork.describe, 40

    def crammed(network, gray, features, xy, *, chunk, **options):
        if chunk > room:
            raise torch.OutOfMemoryError("out of memory")
        return describe(network, gray, features, xy, chunk=chunk, **options)

    monkeypatch.setattr(DalfNetwork, "describe", crammed)
    before = untrained._pipeline
    try:
        with caplog.at_level(logging.WARNING):
            assert np.allclose(untrained.extract(image).descriptors, expected.descriptors, atol=1e-5)
            assert len(caplog.records) == 1 and "smaller steps" in caplog.text
            untrained.extract(image)
            assert len(caplog.records) == 1                 # said once
        room = 0
        with pytest.raises(RuntimeError, match="cpu has too little memory for an image of 96x64"):
            untrained.extract(image)
    finally:
        untrained._pipeline = before


def test_half_precision_stays_close_where_it_may(official, picture):
    """What the GPU runs as one graph, run here by hand: fixed number of rows, half precision in the convolutions."""
    dalf = DALF(official, device="cpu", top_k=300, backend="pytorch")
    image = picture[:200, :240]
    expected = dalf.extract(image)
    dalf.network.to_half()
    with torch.inference_mode():
        fixed = dalf._pipeline.run_fixed(torch.from_numpy(to_gray(image))[None, None], 300)
    count = int((fixed.scores > -torch.inf).sum())
    keypoints, descriptors = fixed.keypoints[:count].numpy(), fixed.descriptors[:count].numpy()
    assert descriptors.dtype == np.float32 and len(fixed.scores) == 300
    distance = np.linalg.norm(keypoints[:, None] - expected.keypoints[None], axis=2)
    near = distance.min(axis=1) < 0.1
    assert near.mean() > 0.97
    assert (descriptors * expected.descriptors[distance.argmin(axis=1)]).sum(axis=1)[near].min() > 0.999


# ---------------------------------------------------------------- wrong input

def _with_nan() -> np.ndarray:
    image = textured(64, 64) / 255
    image[5, 5, 1] = np.nan
    return image


@pytest.mark.parametrize(("image", "message"), [
    (None, "could the file be read"),
    ("picture.png", "not str"),
    (np.zeros((0, 0, 3), np.uint8), "at least 32x32"),
    (np.zeros((480,), np.uint8), "HxW"),
    (np.zeros((64, 64, 2), np.uint8), "HxW"),
    (np.zeros((1, 3, 64, 64), np.float32), "HxW"),
    (np.zeros((64, 64), np.uint32), "uint32"),
    (np.zeros((64, 64), bool), "bool"),
    (np.zeros((64, 64), complex), "complex"),
    (np.zeros((31, 64), np.uint8), "64x31"),
    (np.full((64, 64, 3), 7, np.uint8), "constant"),
    (_with_nan(), "NaN"),
    (np.linspace(0, 255, 4096, dtype=np.float32).reshape(64, 64), "0 to 255"),
])
def test_wrong_images_are_named(untrained, image, message):
    with pytest.raises(ValueError, match=message):
        untrained.extract(image)


def test_wrong_masks_are_named(untrained):
    for mask in (np.ones(64, np.uint8), np.ones((64, 64, 3), np.uint8), np.ones((0, 0), np.uint8), [[1]]):
        with pytest.raises(ValueError, match="mask must be a HxW array"):
            untrained.extract(textured(64, 64), mask)
    with pytest.raises(ValueError, match="mask is 48x64 but the image 64x64"):
        untrained.extract(textured(64, 64), np.ones((64, 48), np.uint8))


@pytest.mark.parametrize("factor", [2, 3, 0.5])
def test_a_mask_of_another_resolution_is_resized(untrained, factor):
    """A box with borders that fall on pixels of both: the same keypoints as with the mask of the image's size."""
    image, mask = textured(96, 72), np.zeros((72, 96), np.uint8)
    mask[12:60, 24:84] = 1
    other = mask.repeat(factor, 0).repeat(factor, 1) if factor >= 1 else mask[::2, ::2]
    expected = untrained.extract(image, mask).keypoints
    found = untrained.extract(image, other.astype(bool)).keypoints
    assert 5 < len(expected) < len(untrained.extract(image)) and np.array_equal(found, expected)


@pytest.mark.parametrize("options", [{"geometry": "flat"}, {"descriptor": "sift"}, {"top_k": 0}, {"top_k": 2.5}, {"threshold": np.nan},
                                     {"scales": ()}, {"scales": (0.5, -1)}, {"precision": "float64"},
                                     {"device": "tpu"}, {"device": "meta"}, {"device": None}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DALF(**options)


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives(official, picture, whole):
    features = DALF(official, device="cuda", top_k=1000, precision="float32").extract(picture)
    distance = np.linalg.norm(features.keypoints[:, None] - whole.keypoints[None], axis=2)
    near = distance.min(axis=1) < 0.05
    cosine = (features.descriptors * whole.descriptors[distance.argmin(axis=1)]).sum(axis=1)
    assert near.mean() > 0.98 and np.median(cosine[near]) > 0.9999


@pytest.mark.gpu
def test_half_precision_as_one_graph_on_the_gpu(official, picture, whole):
    dalf = DALF(official, device="cuda", top_k=1000, precision="float16")
    first, other, again = dalf.extract(picture), dalf.extract(picture[::-1]), dalf.extract(picture)
    assert np.array_equal(first.keypoints, again.keypoints) and not np.array_equal(first.keypoints, other.keypoints)
    distance = np.linalg.norm(first.keypoints[:, None] - whole.keypoints[None], axis=2)
    near = distance.min(axis=1) < 0.2
    cosine = (first.descriptors * whole.descriptors[distance.argmin(axis=1)]).sum(axis=1)
    assert near.mean() > 0.95 and np.median(cosine[near]) > 0.999
    found = match(whole, first)
    assert first.on_device is not None and (np.linalg.norm(whole.keypoints[found.reference_index] - first.keypoints[found.query_index],
                                                           axis=1) < 0.5).mean() > 0.95
