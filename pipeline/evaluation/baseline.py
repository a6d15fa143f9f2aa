"""The baseline: the model that is served now, which a candidate would replace."""

import os

import ml_metadata as mlmd
from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, path_utils

NOTHING_SERVED = "nothing_served"  # a file in place of a baseline (kubeflow/served_copy.py)
_COPIES = "served"  # folder of the pipeline root for versions whose trained model is gone
_SERVED_FROM = "served_from"  # the property of such a copy


class ServedModel(resolver.ResolverStrategy):
    """Resolves the model of the version that is served, whatever its kind, ratings or pipeline.

    If the candidate itself is served, the baseline is the model that the candidate was compared
    with when it was blessed, so that an identical run has identical inputs and comes from the
    cache. If the files of the trained model are gone, or the output folder was moved, the baseline
    is a copy of the served version. Nothing is resolved if nothing is served.

    For `tfx.dsl.Resolver` with the channels `candidate` (the trainer's model) and `model`.
    """

    def __init__(self, serving_dir: str, copies: str, served: str = "") -> None:
        """Makes the strategy.

        Args:
          serving_dir: the folder of the versions.
          copies: a folder for copies of versions whose trained model is gone.
          served: the newest version under `serving_dir`, "0" without one. "" means that the runner
            cannot see the folder, and the last pushed version is taken.
        """
        self._serving_dir, self._copies, self._served = serving_dir, copies, served

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """TFX calls this function. Returns at most one `model`."""
        pushes = {
            _text(artifact, "pushed_version"): artifact
            for artifact in store.get_artifacts_by_type("PushedModel")
            if artifact.custom_properties["pushed"].int_value
            and _slot(_text(artifact, "pushed_destination")) == os.path.basename(self._serving_dir)
        }
        version = self._served or max(pushes, key=int, default="0")
        models: list[types.Artifact] = []
        if version != "0":
            candidates = {artifact.id for artifact in input_dict["candidate"]}
            push = pushes.get(version)
            model_id = _pushed_model(store, push) if push else None
            if model_id is not None and model_id in candidates:
                model_id = _baseline_of(store, model_id)
                models = [_model(store, model_id)] if model_id else []
            else:
                models = [self._with_files(store, version, push, model_id)]
        return dict(input_dict, model=models)

    def _with_files(
        self,
        store: mlmd.MetadataStore,
        version: str,
        push: mlmd.proto.Artifact | None,
        model_id: int | None,
    ) -> types.Artifact:
        """The model of a version: as it was trained, or else a copy of what is served."""
        model = _model(store, model_id) if model_id else None
        if model and is_saved_model(path_utils.serving_model_path(model.uri)):
            return model
        uri = os.path.join(self._copies, _COPIES, version)
        copy = path_utils.serving_model_path(uri)
        sources = [os.path.join(self._serving_dir, version), *([push.uri] if push else [])]
        for source in sources:
            if not is_saved_model(copy) and is_saved_model(source):
                logging.warning(
                    "The trained model of version %s is gone; %s is used.", version, source
                )
                # Under another name first: a copy that was interrupted must not be taken for whole.
                part = f"{copy}.part"
                for left in filter(fileio.exists, (part, copy)):
                    fileio.rmtree(left)
                io_utils.copy_dir(source, part)
                fileio.rename(part, copy)
        return _registered(store, uri, sources[0])


def is_saved_model(path: str) -> bool:
    """Whether a folder has the files of a SavedModel: its graph and its variables."""
    return all(
        fileio.glob(os.path.join(path, *names))
        for names in (
            ("saved_model.pb",),
            ("variables", "variables.index"),
            ("variables", "variables.data-*"),
        )
    )


def _registered(store: mlmd.MetadataStore, uri: str, served_from: str) -> types.Artifact:
    """The Model artifact at `uri`; makes it if the store does not know it."""
    known = store.get_artifacts_by_uri(uri)
    if known:
        return _model(store, known[0].id)
    model = standard_artifacts.Model()
    model.uri = uri
    model.set_string_custom_property(_SERVED_FROM, served_from)
    model.mlmd_artifact.state = mlmd.proto.Artifact.LIVE  # TFX resolves no others
    model.type_id = store.put_artifact_type(model.artifact_type, can_add_fields=True)
    (model.id,) = store.put_artifacts([model.mlmd_artifact])
    return model


def _model(store: mlmd.MetadataStore, model_id: int) -> types.Artifact:
    (artifact,) = store.get_artifacts_by_id([model_id])
    (kind,) = store.get_artifact_types_by_id([artifact.type_id])
    return artifact_utils.deserialize_artifact(kind, artifact)


def _pushed_model(store: mlmd.MetadataStore, push: mlmd.proto.Artifact) -> int | None:
    """The id of the model that a Pusher pushed; None if the store has forgotten it."""
    executions = {
        event.execution_id
        for event in store.get_events_by_artifact_ids([push.id])
        if event.type == mlmd.proto.Event.OUTPUT
    }
    for event in store.get_events_by_execution_ids(sorted(executions)) if executions else []:
        if event.type == mlmd.proto.Event.INPUT and event.path.steps[0].key == "model":
            return event.artifact_id
    return None


def _baseline_of(store: mlmd.MetadataStore, model_id: int) -> int:
    """The id of the model that a model was compared with when it was last blessed, or 0."""
    blessings = [
        artifact
        for artifact in store.get_artifacts_by_type("ModelBlessing")
        if artifact.custom_properties[constants.ARTIFACT_PROPERTY_BLESSED_KEY].int_value
        == constants.BLESSED_VALUE
        and artifact.custom_properties[constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY].int_value
        == model_id
    ]
    if not blessings:
        return 0
    times = _output_times(store, [blessing.id for blessing in blessings])
    last = max(blessings, key=lambda blessing: (times[blessing.id], blessing.id))
    return last.custom_properties[constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY].int_value


def _output_times(store: mlmd.MetadataStore, ids: list[int]) -> dict[int, int]:
    """When each artifact was last an output, run or cached: milliseconds since 1970, by id."""
    times = dict.fromkeys(ids, 0)
    for event in store.get_events_by_artifact_ids(ids):
        if event.type == mlmd.proto.Event.OUTPUT:
            times[event.artifact_id] = max(times[event.artifact_id], event.milliseconds_since_epoch)
    return times


def _text(artifact: mlmd.proto.Artifact, name: str) -> str:
    return artifact.custom_properties[name].string_value


def _slot(destination: str) -> str:
    """The name of the served model in `.../NAME/VERSION`."""
    return os.path.basename(os.path.dirname(os.path.normpath(destination)))
