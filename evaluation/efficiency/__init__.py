"""Time, memory and GPU memory of a submission, by the challenge's protocol."""
