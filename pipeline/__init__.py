"""The TFX pipeline: its components, its Beam jobs and its settings."""
