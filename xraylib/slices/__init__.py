"""Where slices come from, which of them train, validate and test, and how their files are read and written."""
