"""Cases that training, held-out and test folders share, by name, by file and by content."""
