"""The baseline: the last blessed model of the same kind as the candidate."""

import os

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.utils import path_utils

# The property of a ModelBlessing that holds the kind of its model.
KEY_PROPERTY = "baseline_key"


class LastBlessed(resolver.ResolverStrategy):
    """Resolves the last blessed model of the same MODEL, ratings and sampling.

    The last model is the one blessed last, not the one trained last: a reverted setting brings
    an old model back. If the last model is the candidate itself, the baseline is the model that
    the candidate was compared with then, so that an identical run has identical inputs and comes
    from the cache. A model whose files are gone is skipped in favour of the one blessed before.

    For `tfx.dsl.Resolver` with the channels `candidate` (the trainer's model),
    `model` and `model_blessing` (all of the pipeline).
    """

    def __init__(self, key: str) -> None:
        """Makes the strategy.

        Args:
          key: JSON of the model, ratings and sampling settings.
        """
        self._key = key

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """TFX calls this function. Returns at most one `model` and its `model_blessing`."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        models = {artifact.id: artifact for artifact in input_dict["model"]}
        blessings = [
            blessing
            for blessing in input_dict["model_blessing"]
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
            == constants.BLESSED_VALUE
            and blessing.get_string_custom_property(KEY_PROPERTY) == self._key
        ]
        times = _blessing_times(store, blessings)
        blessings.sort(key=lambda blessing: (times[blessing.id], blessing.id), reverse=True)
        result: dict[str, list[types.Artifact]] = dict(input_dict, model=[], model_blessing=[])
        for blessing in blessings:
            model_id = blessing.get_int_custom_property(
                constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY
            )
            is_candidate = model_id in candidates
            if is_candidate:
                model_id = blessing.get_int_custom_property(
                    constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY
                )
            if model_id in models and _has_files(models[model_id]):
                return result | {"model": [models[model_id]], "model_blessing": [blessing]}
            if is_candidate and not model_id:
                break
        return result


def _blessing_times(store: mlmd.MetadataStore, blessings: list[types.Artifact]) -> dict[int, int]:
    """When each blessing was last an output, run or cached: milliseconds since 1970, by id."""
    times = {blessing.id: 0 for blessing in blessings}
    if blessings:
        for event in store.get_events_by_artifact_ids(list(times)):
            if event.type == mlmd.proto.Event.OUTPUT:
                times[event.artifact_id] = max(
                    times[event.artifact_id], event.milliseconds_since_epoch
                )
    return times


def _has_files(model: types.Artifact) -> bool:
    return fileio.exists(os.path.join(path_utils.serving_model_path(model.uri), "saved_model.pb"))
