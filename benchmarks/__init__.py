"""Speed and memory, measured: alternating, whole processes, medians."""
