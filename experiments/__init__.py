"""Which model ranks best: shared samples, hyperparameter search, tables, ablation."""
