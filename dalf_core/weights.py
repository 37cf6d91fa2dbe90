"""Which checkpoint: the built-in one, the official one (downloaded once, checked, cached) or a file of yours.

Files are recognised by their content, never by their name. Nothing but tensors is ever unpickled.
"""
from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import pickle
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .features.geometry import ORIGINAL
from .features.light_network import LightNetwork
from .features.network import DalfNetwork, Network, rename_official
from .files.user_cache import cache_folder
from .files.whole_file import whole_file

OFFICIAL, LIGHT = "official", "light"
OFFICIAL_URL = "https://raw.githubusercontent.com/verlab/DALF_CVPR_2023/main/weights/model_ts-fl_final.pth"
OFFICIAL_SHA256 = "ffe8160a64a3f33b267e5a7d5a0390ab1703674305cda7626c4fce8fbcae296b"
OFFICIAL_KEYPOINT_BIAS = 0.25    # measured: keypoints of mirrored images differ by twice that, wherever they lie
OFFICIAL_THRESHOLD = 25.0       # of the heatmap; the official code's
OFFICIAL_FILE = "model_ts-fl_final.pth"
BUILT_IN = Path(__file__).parent / "weights" / "dalf.safetensors"   # its model card lies beside it
BUILT_IN_LIGHT = BUILT_IN.with_name("light.safetensors")
ENVIRONMENT = "DALF_WEIGHTS"
FORMAT = "dalf"
ARCHITECTURES: dict[str, type[DalfNetwork] | type[LightNetwork]] = {kind.architecture: kind for kind in (DalfNetwork, LightNetwork)}
TIMEOUT_S = 20.0
MAX_BYTES = 256 << 20       # no checkpoint of this network comes near it
KINDS = " or ".join(map(repr, ARCHITECTURES))

log = logging.getLogger(__name__)


class WeightsError(RuntimeError):
    """The weights cannot be obtained or read. The message names the cause and the remedy."""


@dataclass(frozen=True)
class Weights:
    """A checkpoint that was read.

    tensors: by the names of the network. architecture: which network, of ARCHITECTURES. geometry: the geometry it was
    trained with. source: where it came from, in words.
    metadata: what else the file says about itself.
    keypoint_bias: pixels by which the detector places keypoints too far right and down, alike on both axes.
    threshold: least heatmap value of a keypoint.
    """

    tensors: dict[str, torch.Tensor]
    geometry: str
    source: str
    metadata: dict[str, str]
    keypoint_bias: float = 0.0
    threshold: float = OFFICIAL_THRESHOLD
    architecture: str = DalfNetwork.architecture


def load_network(weights: str | os.PathLike | None = None) -> tuple[Network, Weights]:
    """The network with its weights in evaluation mode, on the CPU.

    weights: None: $DALF_WEIGHTS if set, else the built-in ones, else the official ones; "official"; "light": the built-in light network;
    or a path to a .pth of the official kind or a .safetensors of ours. Raises WeightsError.
    """
    loaded = read_weights(resolve(weights))
    network = ARCHITECTURES[loaded.architecture]()
    _check_tensors(network, loaded)
    network.load_state_dict(loaded.tensors)
    return network.eval(), loaded


def resolve(weights: str | os.PathLike | None = None) -> Path:
    """The file that a choice of weights means (see load_network), downloaded if need be. Raises WeightsError."""
    named = os.environ.get(ENVIRONMENT)
    if weights is None and named:
        return _existing(Path(named), f"{ENVIRONMENT}={named}")
    if weights is None and BUILT_IN.is_file():
        return BUILT_IN
    if weights == LIGHT:
        return BUILT_IN_LIGHT
    if weights is None or weights == OFFICIAL:
        return official_file()
    try:
        path = Path(weights).expanduser()
    except TypeError:
        raise WeightsError(f'weights must be None, "{OFFICIAL}", "{LIGHT}" or a path, not {type(weights).__name__}') from None
    return _existing(path, f"weights={str(weights)!r}")


def fingerprint(weights: Weights, geometry: str, descriptor: str) -> str:
    """What features are of: equal where descriptors may be compared. A text of the network, how it is read, and a hash of its tensors."""
    digest = hashlib.sha256()
    for name in sorted(weights.tensors):
        digest.update(name.encode() + weights.tensors[name].contiguous().numpy().tobytes())
    return f"{weights.architecture} {geometry} {descriptor} {digest.hexdigest()[:16]}"


def _existing(path: Path, choice: str) -> Path:
    hint = f'Give the path of a DALF checkpoint (.pth or .safetensors), "{OFFICIAL}" or "{LIGHT}"'
    if path.is_dir():
        raise WeightsError(f"{choice} is a directory, not a file. {hint}, e.g. {path / OFFICIAL_FILE}")
    if not path.is_file():
        raise WeightsError(f"{choice}: there is no such file. {hint}.")
    return path


def read_weights(path: Path) -> Weights:
    """Read a checkpoint file: safetensors of ours, or a PyTorch file of the official kind. Raises WeightsError."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(9)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _read_pytorch(path)
    what = "is empty" if not head else "is no checkpoint (neither PyTorch nor safetensors)"
    raise WeightsError(f"{path} {what}. Put an intact DALF checkpoint there.")


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}). Put an intact DALF checkpoint there.") from error
    kind = ARCHITECTURES.get(metadata.get("architecture", ""))
    if metadata.get("format") != FORMAT or kind is None or metadata.get("geometry") not in kind.geometries:
        raise WeightsError(f"{path} is a safetensors file, but its metadata {json.dumps(metadata)[:200]} does not describe "
                           f"a network of kind {KINDS}. Put a checkpoint there that this project's trainer wrote.")
    return Weights(tensors, metadata["geometry"], str(path), metadata, _number(path, metadata, "keypoint_bias", 0.0),
                   _number(path, metadata, "threshold", OFFICIAL_THRESHOLD), kind.architecture)


def _number(path: Path, metadata: dict[str, str], key: str, default: float) -> float:
    """A finite number from the metadata of a file. Raises WeightsError."""
    try:
        value = float(metadata.get(key, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise WeightsError(f"{path}: {key} in its metadata is no number: {metadata[key][:40]!r}")
    return value


def _read_pytorch(path: Path) -> Weights:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path} holds more than tensors, or is damaged. It was refused and none of it was run "
                           f"({_first_line(error)}). Put a checkpoint there that holds tensors only.") from error
    except Exception as error:      # a damaged file can fail anywhere in the reader
        raise WeightsError(f"{path} is damaged ({_first_line(error)}). Put an intact DALF checkpoint there.") from error
    if not isinstance(content, dict) or not content or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()):
        raise WeightsError(f"{path} is a PyTorch file, but not a plain table of named tensors. "
                           f"Put a DALF checkpoint of kind {DalfNetwork.architecture!r} there.")
    return Weights({rename_official(name): value for name, value in content.items()}, ORIGINAL, str(path), {}, OFFICIAL_KEYPOINT_BIAS)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]


def _check_tensors(network: Network, loaded: Weights) -> None:
    """WeightsError naming the first few tensors that are missing, unknown, of a wrong shape or not finite."""
    wanted = network.state_dict()
    faults = [f"{name} is missing" for name in wanted if name not in loaded.tensors]
    for name, tensor in loaded.tensors.items():
        if name not in wanted:
            faults.append(f"{name} is unknown")
        elif tensor.shape != wanted[name].shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name} holds NaN or infinity")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(f"{loaded.source} does not fit the network of kind {network.architecture!r}: {'; '.join(faults[:3])}{more}. "
                           f'Give a checkpoint of that kind, or "{OFFICIAL}".')


def save_weights(network: Network, path: str | os.PathLike, *, geometry: str | None = None,
                 metadata: dict[str, str] | None = None) -> None:
    """Write a checkpoint as safetensors; architecture and geometry go into its metadata. Replaces the file in one step.

    geometry: that it was trained with; None: the first of the network's.
    """
    geometry = network.geometries[0] if geometry is None else geometry
    if geometry not in network.geometries:
        raise ValueError(f"geometry must be one of {network.geometries}, not {geometry!r}")
    path = Path(path)
    described = {**(metadata or {}), "format": FORMAT, "architecture": network.architecture, "geometry": geometry}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with whole_file(path) as partial:
        save_file(tensors, str(partial), described)


def official_file() -> Path:
    """The official checkpoint: from the cache, from $DALF_WEIGHTS if that is it, or downloaded. Raises WeightsError."""
    cached = cache_folder() / OFFICIAL_FILE
    named = os.environ.get(ENVIRONMENT)
    for candidate in [cached, *([Path(named)] if named else [])]:
        if candidate.is_file() and _sha256(candidate) == OFFICIAL_SHA256:
            return candidate
    if cached.is_file():
        log.warning("%s is damaged; downloading it again", cached)
    _download(OFFICIAL_URL, cached)
    return cached


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _download(url: str, target: Path) -> None:
    """Fetch the official checkpoint into target: whole and with the right SHA-256, or not at all."""
    by_hand = (f"Fetch {url} on a machine with network, put it at {target}, "
               f"or anywhere and set {ENVIRONMENT} to its path (SHA-256 {OFFICIAL_SHA256}).")
    log.info("downloading the official DALF weights from %s to %s", url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as partial:
            with partial.open("wb") as stream:
                digest = _fetch(url, stream)
            if digest != OFFICIAL_SHA256:
                raise WeightsError(f"what {url} delivered is not the official checkpoint (SHA-256 {digest}). {by_hand}")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise WeightsError(f"the official DALF weights are not on this machine and could not be downloaded: "
                           f"{getattr(error, 'reason', error)}. {by_hand}") from error
    except OSError as error:
        raise WeightsError(f"the official DALF weights could not be stored in {target.parent}: "
                           f"{error.strerror or error}. {by_hand}") from error


def _fetch(url: str, stream: IO[bytes]) -> str:
    """Copy url to an open file with a progress bar; returns the SHA-256."""
    from .progress_bar import progress_bar

    digest = hashlib.sha256()
    received = 0
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        total = int(response.headers.get("Content-Length") or 0) or None
        with progress_bar(total=total, unit="B", unit_scale=True, desc="DALF weights") as bar:
            while block := response.read(1 << 16):
                received += len(block)
                if received > MAX_BYTES:
                    raise urllib.error.URLError(f"more than {MAX_BYTES} bytes came")
                digest.update(block)
                stream.write(block)
                bar.update(len(block))
    return digest.hexdigest()
