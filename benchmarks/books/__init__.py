"""The whole pipeline at the size of Amazon Books: time, processor time and memory."""
