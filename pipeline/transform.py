"""TFX's Transform with two additions: a check for lost shards, and the counts of items."""

import json
import os
import tempfile
from typing import Any

from tfx import types
from tfx import v1 as tfx
from tfx.components.transform import executor as transform
from tfx.dsl.components.base import executor_spec

from pipeline.examples import require_all_shards
from pipeline.ingest.item_counts import write_frequent_items


class Executor(transform.Executor):
    """TFX's executor, which also tells `preprocessing_fn` the items with enough events."""

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
        config = json.loads(exec_properties["custom_config"])
        with tempfile.TemporaryDirectory() as folder:
            if config["min_item_count"] > 1:
                (examples,) = input_dict["examples"]
                config["frequent_items"] = os.path.join(folder, "frequent_items.npy")
                least = config["min_item_count"]
                write_frequent_items(examples.uri, least, config["frequent_items"])
            custom = {"custom_config": json.dumps(config)}
            super().Do(input_dict, output_dict, exec_properties | custom)


class CheckedTransform(tfx.components.Transform):
    """Transform with the executor above."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
