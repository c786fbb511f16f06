"""Audit a round's labels: volumes, disagreement, and the cases that a person should review."""
