"""What stands between a pushed model and a request."""
