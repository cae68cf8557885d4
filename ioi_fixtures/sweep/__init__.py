"""Many models: what a sweep of these claims adds to the machinery of lib/sweep, and one of models trained here."""
