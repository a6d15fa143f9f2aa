"""Test rows with the scores of both models: from files of Examples to TFMA's slices."""
