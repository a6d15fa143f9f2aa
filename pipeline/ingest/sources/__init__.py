"""Ratings files of any format as events: list the files, find the layout, read, check each row."""
