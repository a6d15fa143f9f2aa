"""The baseline where no resolver of ours can run: a copy of the served model.

Kubeflow Pipelines 2 has no metadata store that `evaluation.baseline.ServedModel` could ask, and its
open-source backend runs no resolvers at all. So a component looks into the folder that is served.
"""

import os

from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.io import fileio
from tfx.utils import io_utils, path_utils

from pipeline.evaluation.baseline import NOTHING_SERVED
from pipeline.release.pusher import versions


@tfx.dsl.components.component
def ServedModelCopy(
    candidate: InputArtifact[tfx.types.standard_artifacts.Model],
    model: OutputArtifact[tfx.types.standard_artifacts.Model],
    serving_dir: Parameter[str],
) -> None:
    """Copies the newest version under `serving_dir`, when the candidate is trained.

    Without a version it writes the file `NOTHING_SERVED` instead, because the component must have
    an output.
    """
    del candidate  # is there for the order: another run may push while this one trains
    newest = max(versions(serving_dir), default=0)
    if newest:
        source = os.path.join(serving_dir, str(newest))
        io_utils.copy_dir(source, path_utils.serving_model_path(model.uri))
    else:
        with fileio.open(os.path.join(model.uri, NOTHING_SERVED), "w") as file:
            file.write(f"No version in {serving_dir}.\n")
