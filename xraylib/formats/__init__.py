"""Files in and out: TIFF and PNG, the layouts of data sets, labels, grey levels, predictions."""
