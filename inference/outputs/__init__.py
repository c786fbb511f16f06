"""What a prediction writes beside its label maps, on request: a module each; pictures are `show`'s.

Nothing here is imported by a prediction that writes label maps alone.
"""
