"""The paper's iterative training: label, fuse, select, train, and again."""
