"""Make engines ahead of time, and measure them against the network that was trained."""
