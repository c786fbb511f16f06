"""Score label maps against the truth."""
