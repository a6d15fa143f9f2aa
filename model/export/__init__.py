"""The exported SavedModel: its signatures and its warm-up requests."""
