"""`TF_CONFIG`: what it says, what is wrong with it, and workers that do not come."""

import concurrent.futures
import json
import socket
import threading
import time

import pytest

from model.training import cluster
from pipeline.configs import Settings, SettingsError, check_workers

TWO = {"worker": ["a:1", "b:2"]}


def environment(jobs, kind, index):
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    ("environ", "addresses", "index"),
    [
        (environment(TWO, "worker", 1), ("a:1", "b:2"), 1),
        # The chief is worker 0, and the others are counted after it.
        (environment({"worker": ["b:2"], "chief": ["a:1"]}, "worker", 0), ("a:1", "b:2"), 1),
        (environment({"worker": ["b:2"], "chief": ["a:1"]}, "chief", 0), ("a:1", "b:2"), 0),
    ],
)
def test_workers_are_numbered_from_the_chief(environ, addresses, index):
    assert cluster.read(environ) == (addresses, index)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "be set where IMN_DISTRIBUTE is multi_worker.*Received: ''"),
        ({"TF_CONFIG": '{"cluster":'}, "be JSON .Expecting value.*Received: '{\"cluster\":'"),
        ({"TF_CONFIG": "[1]"}, "be an object with the objects `cluster` and `task`"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "objects `cluster` and `task`"),
        (environment(TWO, "worker", 2), "`index` from 0 to 1, because `worker` has 2 addresses"),
        (environment(TWO, "worker", -1), "`index` from 0 to 1"),
        (environment(TWO, "worker", "0"), "`index` of the task as a whole number"),
        (environment(TWO, "chief", 0), "`type` of the task: one of worker"),
        (environment(TWO | {"ps": ["c:3"]}, "worker", 0), "no jobs but .*it names ps"),
        (environment({"worker": "a:1"}, "worker", 0), "addresses of `worker` as a list"),
        (environment({"worker": ["a"]}, "worker", 0), "HOST:PORT; 'a' is none"),
        (environment({"worker": ["a:99999"]}, "worker", 0), "'a:99999' is none"),
        (environment({"worker": ["a:1", "a:1"]}, "worker", 0), "an address of its own"),
        (environment({"chief": ["a:1", "b:2"]}, "chief", 0), "one `chief` at most"),
    ],
)
def test_a_wrong_value_is_named_with_its_cure(environ, says):
    with pytest.raises(ValueError, match=f"`TF_CONFIG` must .*{says}.*IMN_WORKERS=2"):
        cluster.read(environ)


@pytest.mark.parametrize("text", ["a string", 7, None, {"cluster": [], "task": {}}])
def test_any_json_is_answered_with_a_message(text):
    with pytest.raises(ValueError, match="`TF_CONFIG` must"):
        cluster.read({"TF_CONFIG": json.dumps(text)})


def test_the_trainer_must_be_the_chief_before_a_run_starts():
    settings = Settings(distribute="multi_worker")
    check_workers(settings, environment(TWO, "worker", 0))
    with pytest.raises(SettingsError, match="first worker, a:1, as the task of the Trainer"):
        check_workers(settings, environment(TWO, "worker", 1))
    with pytest.raises(SettingsError, match="`TF_CONFIG` must be set"):
        check_workers(settings, {})
    check_workers(Settings(distribute="multi_worker", workers=2), {})
    check_workers(Settings(), {})
    with pytest.raises(SettingsError, match=r"`workers` must be 0 .*2 and 'none'"):
        Settings(workers=2)


def test_workers_meet_in_any_order():
    all_met = threading.Barrier(2, timeout=20)

    def join(config):
        place = cluster.read({"TF_CONFIG": config})
        cluster.meet(place, 20)
        # TensorFlow takes the port over, so the other worker finds this one later too.
        with socket.create_server(("", int(place.addresses[place.number].split(":")[1]))):
            all_met.wait()

    first, second = cluster.on_this_machine(2)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        joined = pool.submit(join, first)
        time.sleep(0.3)
        join(second)
    assert joined.result() is None


def test_an_address_at_which_nobody_listens_is_named():
    (config,) = cluster.on_this_machine(1)
    own = cluster.read({"TF_CONFIG": config}).addresses[0]
    nobody = cluster.Cluster((own, "127.0.0.1:1", "no-such-host.invalid:1"), 0)
    with pytest.raises(ValueError, match=r"nothing answers at 127.0.0.1:1, no-such-host.invalid:1"):
        cluster.meet(nobody, 0.1)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as taken:
        own = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"must be free .Address.*in use.*Received: {own}"):
            cluster.meet(cluster.Cluster((own,), 0), 1)
