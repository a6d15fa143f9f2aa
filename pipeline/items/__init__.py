"""The item table: attributes of the items, from catalogue files to arrays that a model gathers."""
