"""Which model a candidate is held against: the last blessed one of its kind."""

import os

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.utils import path_utils

# The property of a ModelBlessing that names the kind of model it is about.
KEY_PROPERTY = "baseline_key"


class LastBlessed(resolver.ResolverStrategy):
    """Resolves the last blessed model of the same MODEL, ratings and sampling.

    The last is the one that was blessed last, not the one trained last: a
    setting that was reverted brings an old model back. Where that is the
    candidate itself, the baseline is the one it was judged against then, so
    that an identical run asks an identical question and is answered from the
    cache. A model whose files are gone is no baseline; the one blessed before
    it is.

    For `tfx.dsl.Resolver` with the channels `candidate` (the trainer's model),
    `model` and `model_blessing` (all of the pipeline).
    """

    def __init__(self, key: str) -> None:
        """Takes what MODEL, ratings and sampling are summed up in."""
        self._key = key

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """TFX will call this function; gives at most one `model` and its `model_blessing`."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        models = {artifact.id: artifact for artifact in input_dict["model"]}
        blessings = [
            blessing
            for blessing in input_dict["model_blessing"]
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
            == constants.BLESSED_VALUE
            and blessing.get_string_custom_property(KEY_PROPERTY) == self._key
        ]
        given = _times_given(store, blessings)
        blessings.sort(key=lambda blessing: (given[blessing.id], blessing.id), reverse=True)
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


def _times_given(store: mlmd.MetadataStore, blessings: list[types.Artifact]) -> dict[int, int]:
    """When each blessing was last given, run or cached, in milliseconds."""
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
