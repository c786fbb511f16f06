"""How far a network's probabilities can be believed, and the temperature that mends them."""
