"""What judges a model: metrics, slices, controls, baseline, gate."""
