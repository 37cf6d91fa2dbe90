"""NVIDIA Warp, started without a word, and its devices. Its kernels are compiled when they are first used, and kept in its cache."""
import warp as wp

wp.config.log_level = wp.LOG_WARNING        # no banner


def start() -> None:
    """RuntimeError when there is no place for compiled kernels."""
    try:
        wp.init()
    except OSError as error:
        raise RuntimeError(f"NVIDIA Warp has no place to keep its kernels ({error}): name a folder in the environment variable "
                           "WARP_CACHE_PATH") from error


def cuda_device(name: str) -> wp.Device:
    """Of "cuda" or "cuda:N". RuntimeError when there is none."""
    start()
    if not wp.is_cuda_available():
        raise RuntimeError(f"registration with device={name!r}: NVIDIA Warp sees no CUDA device; take 'cpu' or 'auto'")
    count = wp.get_cuda_device_count()
    if ":" in name and int(name.split(":")[1]) >= count:
        raise RuntimeError(f"registration with device={name!r}: there are {count} CUDA devices, from cuda:0; take 'cpu' or 'auto'")
    return wp.get_device(name)
