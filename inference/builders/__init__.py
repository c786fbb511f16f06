"""Build engines ahead of time, and compare them with the trained network."""
