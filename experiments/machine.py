"""The machine on which figures were measured."""

import os
import pathlib
import platform
import shlex
import sys
import time
from importlib import metadata
from typing import Any

import psutil


def processor() -> str:
    """The name of the processor."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def origin(module: str) -> dict[str, str]:
    """Date, command and machine of a result, so that it can be reproduced.

    Args:
      module: the module, as after `python -m`.
    """
    settings = [f"{name}={value}" for name, value in os.environ.items() if name[:4] == "IMN_"]
    # Absolute paths of this machine are shortened to their last name.
    args = [pathlib.Path(each).name if each.startswith("/") else each for each in sys.argv[1:]]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join([*sorted(settings), "python", "-m", module, *args]),
        "machine": f"{processor()}, {os.cpu_count()} cores, "
        f"TensorFlow {metadata.version('tensorflow')}",
    }


def describe(threads: int, limit_mb: float) -> dict[str, Any]:
    """The conditions that figures depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_mb": psutil.virtual_memory().total >> 20,
        "memory_limit_mb": round(limit_mb),
        "load_at_start": os.getloadavg()[0],
        "tensorflow": metadata.version("tensorflow"),
    }
