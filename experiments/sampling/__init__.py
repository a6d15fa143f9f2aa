"""Samples that all models of an experiment share: made once, stored on disk, reused."""
