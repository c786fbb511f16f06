"""Tools beside prediction: a picture, an estimate, labels outside of the region of interest."""
