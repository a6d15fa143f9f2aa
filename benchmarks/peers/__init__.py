"""DIN of other libraries, each in its own environment."""
