"""What the pods of the steps get, by the name of the step: resources, retries, labels, user.

The same for Kubeflow Pipelines 1, which writes names of steps in small letters, and 2. Needs
neither of their packages.
"""

import dataclasses
import re

from pipeline.configs import Settings, SettingsError

USER = 1000  # of the image (Dockerfile), and the group of the files on the volume
PASSWORD_KEY = "password"  # of the secret `metadata_secret`
PASSWORD_VARIABLE = "METADATA_PASSWORD"  # in the pods that get it
BACKOFF_SECONDS, BACKOFF_FACTOR = 60, 2

# They read metadata and small files, and load the libraries; no setting makes them larger.
_SMALL = ("historyschema", "examplevalidator", "anomalystop", "baseline")
_SMALL_CPU, _SMALL_MEMORY = 1.0, 2.0
# Fails on purpose: the same anomalies would be found again.
_FINAL = ("anomalystop",)

# Kubernetes: a key is [DNS name/]name of at most 63 characters, a value as a name, or empty.
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"([a-z0-9][-a-z0-9.]{{0,252}}/)?{_NAME}=({_NAME})?")


@dataclasses.dataclass(frozen=True)
class Resources:
    """Of one step, as Kubernetes writes quantities. A limit is what it may take at most."""

    cpu_request: str
    cpu_limit: str
    memory: str  # request and limit: a pod above its request is the first that a node evicts


def resources(settings: Settings, step: str) -> Resources:
    """What a step asks for and may take.

    Half of the cores are requested, because a step waits for files much of its time.
    """
    if step.lower() in _SMALL:
        cpu, memory = min(_SMALL_CPU, settings.step_cpu), min(_SMALL_MEMORY, settings.step_memory)
    else:
        cpu, memory = settings.step_cpu, settings.step_memory
    milli = round(1000 * cpu)
    return Resources(f"{milli // 2}m", f"{milli}m", f"{round(1024 * memory)}Mi")


def fails_for_good(step: str) -> bool:
    """Whether a failure of the step is its answer, which a retry would only repeat.

    All other steps may be retried: a repetition finds its folders empty (`leftovers`), later steps
    read only the outputs of complete executions, a training resumes from its checkpoint, and the
    Pusher pushes nothing if the newest version is already this model.
    """
    return step.lower() in _FINAL


def check_labels(settings: Settings) -> None:
    """Checks the settings that are labels, before anything slow is imported.

    Raises:
      SettingsError: for a label that Kubernetes would refuse.
    """
    labels(settings)
    node_selector(settings)


def node_selector(settings: Settings) -> dict[str, str]:
    """The labels that a node must have to run a step."""
    return _pairs("node_selector", settings.node_selector)


def labels(settings: Settings, step: str = "") -> dict[str, str]:
    """Labels of the run, or of a step's pod: those of the settings, and Kubernetes' usual ones."""
    usual = {"app.kubernetes.io/name": "imn"}
    if step:
        usual["app.kubernetes.io/component"] = step.lower()
    return _pairs("pod_labels", settings.pod_labels) | usual


def storage_root(settings: Settings) -> str:
    """The storage root without a slash at its end."""
    return settings.storage_root.rstrip("/")


def is_bucket(path: str) -> bool:
    """Whether a path is the address of a bucket, such as gs://NAME/imn."""
    return "://" in path


def _pairs(setting: str, text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        if not _LABEL.fullmatch(part):
            raise SettingsError(
                f"`{setting}` must be labels of Kubernetes, such as pool=training,disk=ssd: names "
                "and values of at most 63 letters, digits, `-`, `_` and `.`, which begin and end "
                f"with a letter or digit. Received: {part!r}."
            )
        name, _, value = part.partition("=")
        found[name] = value
    return found
