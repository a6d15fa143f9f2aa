"""The page to try the models: static files, and the users and items that it searches."""
