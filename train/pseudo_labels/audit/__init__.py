"""A round's labels as a page: volumes, disagreement, and the cases most worth a human look."""
