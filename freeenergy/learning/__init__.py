"""Active learning: what is labelled next, while labels still come back."""
