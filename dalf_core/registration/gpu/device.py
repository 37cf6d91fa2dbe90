"""NVIDIA Warp, started without a word, and its devices. Its kernels are compiled when they are first used, and kept in its cache."""
import threading

import warp as wp

wp.config.log_level = wp.LOG_WARNING        # no banner
# Held while a solver is at work: NVIDIA Warp loads modules and keeps its current device and stream in state that all threads share.
IN_USE = threading.RLock()


def device_of(name: str) -> wp.Device:
    """Of "cpu", "cuda" or "cuda:N". RuntimeError when there is none, or no place for compiled kernels."""
    try:
        wp.init()
    except OSError as error:
        raise RuntimeError(f"NVIDIA Warp has no place for its compiled kernels ({error}): name a folder in the environment variable "
                           "WARP_CACHE_PATH") from error
    if name != "cpu" and not wp.is_cuda_available():
        raise RuntimeError(f"registration with device={name!r}: NVIDIA Warp sees no CUDA device; take 'cpu' or 'auto'")
    if ":" in name and int(name.split(":")[1]) >= wp.get_cuda_device_count():
        raise RuntimeError(f"registration with device={name!r}: there are {wp.get_cuda_device_count()} CUDA devices, from cuda:0")
    return wp.get_device(name)
