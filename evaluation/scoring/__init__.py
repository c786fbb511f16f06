"""DSC and NSD by the official rules and by fixed ones."""
