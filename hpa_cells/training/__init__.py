"""Training: from labelled fields to a checkpoint. Nothing is imported here: torch and Lightning are slow."""
