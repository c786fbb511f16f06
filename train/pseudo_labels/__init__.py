"""Pseudo labels from several sources: fusion, weighting, selection, calibration, audit."""
