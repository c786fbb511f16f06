"""Labels made of several sources: fused, weighted, selected, calibrated, audited."""
