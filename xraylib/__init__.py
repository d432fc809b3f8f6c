"""Library of the X-ray segmentation notebooks: U-Net, Dice loss, noise and the training loop."""

__version__ = "1.0.0"
# Tells this package apart from the X-ray physics library that is also imported as xraylib.
PROJECT = "xray-unet-notebooks"
