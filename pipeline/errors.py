"""Errors of users, which end a run with one line instead of a traceback."""


class InputError(ValueError):
    """Wrong settings or ratings. `make run` ends with status 2."""


class AnomalyError(RuntimeError):
    """Examples that disagree with the schema. `make run` ends with status 4."""
