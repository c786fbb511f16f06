"""What a prediction writes beside its label maps, on request: one module an output.

Nothing here is imported by a prediction that writes label maps alone.
"""
