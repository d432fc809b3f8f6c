"""The library of the X-ray segmentation notebooks: U-Net, Dice loss, noise, training loop, and what they need."""

import os

# Idle OpenMP threads spin before they sleep. With anything else running on the machine, the default spin makes a
# training step ten times slower; a shorter one costs nothing. It must be set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = "0.1.0"
PROJECT = "xray-unet-notebooks"  # tells this package from the X-ray physics library that is also imported as xraylib
