"""CT series of DICOM files: found, checked, and read as a `Volume`."""
