"""Claims: every figure of the documents, with the run that it comes from; checked and run again."""
