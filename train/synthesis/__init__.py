"""Generated CTs with labels: the phantom, and phantoms in the shapes of real label maps."""
