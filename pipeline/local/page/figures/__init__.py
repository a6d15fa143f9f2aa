"""The figures of a page, by what they show."""
