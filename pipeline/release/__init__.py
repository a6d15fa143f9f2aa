"""What releases a blessed model: the check of the export and the push."""
