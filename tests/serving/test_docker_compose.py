"""What TF Serving is started with; there is no Docker in CI, so that is as far as it goes."""

import pathlib

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "serving"
# From tensorflow_model_server's flag list, tensorflow_serving/model_servers/main.cc.
FLAGS = {
    "model_config_file",
    "monitoring_config_file",
    "batching_parameters_file",
    "enable_batching",
    "rest_api_timeout_in_ms",
    "enable_signature_method_name_check",
}
# tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
# tensorflow_serving/config/monitoring_config.proto, neither of which is in the wheel.
_FIELD = descriptor_pb2.FieldDescriptorProto
MESSAGES = {
    "BatchingParameters": [
        ("max_batch_size", "Int64Value"),
        ("batch_timeout_micros", "Int64Value"),
        ("max_enqueued_batches", "Int64Value"),
        ("num_batch_threads", "Int64Value"),
        ("enable_large_batch_splitting", "BoolValue"),
    ],
    "MonitoringConfig": [("prometheus_config", "PrometheusConfig")],
    "PrometheusConfig": [("enable", _FIELD.TYPE_BOOL), ("path", _FIELD.TYPE_STRING)],
}


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]


def message(name):
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for of, fields in MESSAGES.items():
        made = file.message_type.add(name=of)
        for number, (field, kind) in enumerate(fields, 1):
            added = made.field.add(name=field, number=number, label=_FIELD.LABEL_OPTIONAL)
            if isinstance(kind, int):
                added.type = kind
            else:
                package = "t" if kind in MESSAGES else "google.protobuf"
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    # The newer of the two names protobuf has had for this; 3.20 knows only the older.
    made = getattr(message_factory, "GetMessageClass", None)
    return (made or message_factory.MessageFactory(pool).GetPrototype)(
        pool.FindMessageTypeByName(f"t.{name}")
    )()


def parsed(name, into):
    return text_format.Parse((FOLDER / "tf_serving" / name).read_text(), into)


def flags(service):
    return dict(flag.removeprefix("--").split("=", 1) for flag in service["command"])


def test_every_flag_is_one_and_every_file_is_there(services):
    for service in services.values():
        assert set(flags(service)) <= FLAGS
        mounts = [volume.rsplit(":", 2) for volume in service["volumes"]]
        assert {(target, mode) for _, target, mode in mounts} == {
            ("/models", "ro"),
            ("/config", "ro"),
        }
        (config,) = [source for source, target, _ in mounts if target == "/config"]
        for value in flags(service).values():
            if value.startswith("/"):
                assert (FOLDER / config / value.removeprefix("/config/")).is_file()
        assert service["image"].startswith("tensorflow/serving:")


def test_ports_are_open_to_this_machine_alone_and_to_one_service_each(services):
    ports = [port for service in services.values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports) == 4


def test_the_newest_version_of_what_the_pipeline_pushes_is_served():
    config = parsed("models.config", model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("imn", "/models/imn")
    assert model.model_version_policy.latest.num_versions == 1


def test_metrics_are_where_prometheus_looks_for_them():
    config = parsed("monitoring.config", message("MonitoringConfig")).prometheus_config
    assert config.enable
    assert config.path == "/monitoring/prometheus/metrics"


def test_requests_are_batched_only_where_rank_is_not_asked(services):
    assert "enable_batching" not in flags(services["imn"])
    assert "profiles" not in services["imn"]
    assert flags(services["examples"])["enable_batching"] == "true"
    assert services["examples"]["profiles"] == ["examples"]
    parameters = parsed("batching.config", message("BatchingParameters"))
    assert parameters.max_batch_size.value == 128
    assert parameters.enable_large_batch_splitting.value
