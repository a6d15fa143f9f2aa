"""The first stage: candidates from the whole catalogue by inner products, for every model."""
