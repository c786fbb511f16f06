"""From a trained network to the archive that is handed in."""
