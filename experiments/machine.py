"""The machine that figures were measured on."""

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
    """What the kernel calls the processor."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def origin(module: str) -> dict[str, str]:
    """Date, command and machine of a result, for those who want to make it again.

    Args:
      module: the benchmark, as after `python -m`.
    """
    settings = [f"{name}={value}" for name, value in os.environ.items() if name[:4] == "IMN_"]
    # The folders of this machine tell nobody anything; what is given from here does.
    given = [pathlib.Path(each).name if each.startswith("/") else each for each in sys.argv[1:]]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join([*sorted(settings), "python", "-m", module, *given]),
        "machine": f"{processor()}, {os.cpu_count()} cores, "
        f"TensorFlow {metadata.version('tensorflow')}",
    }


def describe(threads: int, limit_mb: float) -> dict[str, Any]:
    """What figures depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_mb": psutil.virtual_memory().total >> 20,
        "memory_limit_mb": round(limit_mb),
        "load_at_start": os.getloadavg()[0],
        "tensorflow": metadata.version("tensorflow"),
    }
