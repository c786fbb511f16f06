"""What every package builds on: CTs and label maps, their geometry, files, errors, commands."""

__version__ = "0.2.0"
