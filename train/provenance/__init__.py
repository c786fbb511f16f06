"""Provenance in standard forms: a run of rounds as RO-Crate, weights with Croissant metadata."""
