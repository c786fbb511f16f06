"""Calibrate a network's probabilities: reliability, temperature, confidence, thresholds."""
