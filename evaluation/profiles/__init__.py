"""The rule sets of the FLARE challenges of 2021 to 2026, as data: a TOML file a task."""
