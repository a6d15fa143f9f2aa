"""What a run may end with, beside a traceback: a user's mistake has one line."""


class InputError(ValueError):
    """Settings or ratings that no run can start from. `make run` ends with 2."""


class AnomalyError(RuntimeError):
    """Examples that disagree with the schema. `make run` ends with 4."""
