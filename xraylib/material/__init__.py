"""What a materials scientist reads off a segmentation."""
