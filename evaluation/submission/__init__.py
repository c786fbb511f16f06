"""What the organisers would find wrong with a submission, found before they do."""
