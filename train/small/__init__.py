"""Train the default weights from few real CTs, teachers' soft labels and generated samples."""
