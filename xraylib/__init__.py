"""The library of the X-ray segmentation notebooks: U-Net, Dice loss, noise, training loop, and what they need."""

import ctypes
import os
import sys

# Idle OpenMP threads spin before they sleep. With anything else running on the machine, the default spin makes a
# training step ten times slower; a shorter one costs nothing. It must be set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# glibc gives the memory of each large tensor back to the system and gets the next one page by page; with up to 1 GB
# kept for reuse, a prediction takes a quarter less time (measured in tests/bench/RESULTS.md).
if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
    for _option in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
        ctypes.CDLL(None).mallopt(_option, 2**30)

__version__ = "0.1.0"
PROJECT = "xray-unet-notebooks"  # tells this package from the X-ray physics library that is also imported as xraylib
