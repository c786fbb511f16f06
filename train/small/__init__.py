"""The default weights: few real CTs, teachers' soft labels, a fresh sample at every step."""
