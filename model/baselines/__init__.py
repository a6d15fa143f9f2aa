"""The systems that IMN is compared with, one a file, and the layers that only they use."""
