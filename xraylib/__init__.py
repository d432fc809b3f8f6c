"""The library of the X-ray segmentation notebooks: U-Net, Dice loss, noise, training loop, and what they need."""

__version__ = "0.1.0"
PROJECT = "xray-unet-notebooks"  # tells this package from the X-ray physics library that is also imported as xraylib
