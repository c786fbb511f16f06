"""Measured figures beside reported ones, and teams beside each other."""
