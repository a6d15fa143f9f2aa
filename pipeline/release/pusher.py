"""A Pusher that may be killed and repeated.

TFX's executor copies file by file into a version folder that a server watches, and creates a new
version each time. This executor copies to a temporary name and renames it, and pushes nothing if
the newest version is already this model.
"""

import os
import time
from typing import Any

from tfx import types
from tfx.components.pusher import executor as pusher
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

_TEMPORARY = ".pushing-"
_BLOCK = 1 << 22


class Executor(pusher.Executor):
    """Pushes a blessed model to `base_directory/VERSION`, completely or not at all."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model and records the destination in the PushedModel artifact."""
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        folder = destination.filesystem.base_directory
        version = push(self.GetModelPath(input_dict), folder)
        path = os.path.join(folder, version)
        io_utils.copy_dir(path, pushed.uri)
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=version)


def push(model_dir: str, folder: str) -> str:
    """Copies a SavedModel to a new version in `folder`, unless the newest version is equal.

    Args:
      model_dir: folder of the SavedModel.
      folder: folder that a server watches; versions are subfolders named by a number.

    Returns:
      the version of this model.
    """
    fileio.makedirs(folder)
    for name in fileio.listdir(folder):
        if name.startswith(_TEMPORARY):  # leftover of a killed push
            fileio.rmtree(os.path.join(folder, name))
    newest = max(versions(folder), default=0)
    if newest and _equal(model_dir, os.path.join(folder, str(newest))):
        return str(newest)
    # Versions are the time, as in TFX's Pusher. A server expects increasing numbers.
    version = str(max(int(time.time()), newest + 1))
    temporary = os.path.join(folder, _TEMPORARY + version)
    io_utils.copy_dir(model_dir, temporary)
    fileio.rename(temporary, os.path.join(folder, version))
    return version


def versions(folder: str) -> list[int]:
    """The versions in `folder`, unordered."""
    if not fileio.exists(folder):
        return []
    names = (name.rstrip("/") for name in fileio.listdir(folder))
    return [int(name) for name in names if name.isdigit()]


def _files(folder: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(root, name), folder)
        for root, _, names in fileio.walk(folder)
        for name in names
    )


def _equal(left: str, right: str) -> bool:
    names = _files(left)
    return names == _files(right) and all(
        _same_bytes(os.path.join(left, name), os.path.join(right, name)) for name in names
    )


def _same_bytes(left: str, right: str) -> bool:
    with fileio.open(left, "rb") as a, fileio.open(right, "rb") as b:
        while True:
            block = a.read(_BLOCK)
            if block != b.read(_BLOCK):
                return False
            if not block:
                return True
