"""TFX's Transform, which first checks that no shard of its Examples is missing."""

from typing import Any

from tfx import types
from tfx import v1 as tfx
from tfx.components.transform import executor as transform
from tfx.dsl.components.base import executor_spec

from pipeline.examples import require_all_shards


class Executor(transform.Executor):
    """TFX's executor with a check of its input."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs Transform.

        Raises:
          InputError: if a file of the Examples is missing.
        """
        require_all_shards(input_dict["examples"])
        super().Do(input_dict, output_dict, exec_properties)


class CheckedTransform(tfx.components.Transform):
    """Transform with the executor above."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
