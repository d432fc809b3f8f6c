"""A trained network at work: its weights, its predictions of slices and of whole volumes, its scores."""
