"""Memory that a process has freed, kept for the next tensor instead of given back to the system."""

import ctypes
import platform

# The numbers of glibc's malloc.h, and what they are set to: no block of its own for a large tensor, nothing given back
# below 2 GiB, 256 MiB asked for at a time.
_SETTINGS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**28)}


def keep_freed_memory() -> bool:
    """Let glibc keep the memory of freed tensors in this process; whether it does.

    By default every large tensor is mapped from the system and unmapped again, page by page: up to half of the time of
    a training step on a CPU. Elsewhere than on glibc nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(key, value) == 1 for key, value in _SETTINGS.values())
