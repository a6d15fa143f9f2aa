import pytest

from pipeline import connections
from pipeline.configs import Settings, SettingsError


def test_metadata_is_sqlite_under_the_output_folder(tmp_path):
    config = connections.metadata(Settings(), str(tmp_path))
    assert config.sqlite.filename_uri == str(tmp_path / "metadata.db")


def test_metadata_can_be_a_mysql():
    config = connections.metadata(
        Settings(metadata="mysql://me:p%40ss@db.example:3307/imn"), "unused"
    )
    assert (config.mysql.host, config.mysql.port) == ("db.example", 3307)
    assert (config.mysql.user, config.mysql.password) == ("me", "p@ss")
    assert config.mysql.database == "imn"


@pytest.mark.parametrize("address", ["db.example", "mysql://db.example/imn", "http://a:b@c/d"])
def test_another_address_is_an_error_that_hides_the_password(address):
    with pytest.raises(SettingsError, match="mysql://user:password@host:port/database") as error:
        connections.metadata(Settings(metadata=address), "unused")
    assert ":b@" not in str(error.value)


def test_beam_runs_in_this_process_unless_told_otherwise():
    assert "--direct_running_mode=in_memory" in connections.beam_args(Settings(), "/code")
    assert connections.beam_args(Settings(beam_args="--direct_num_workers=2"), "/code")[-1] == (
        "--direct_num_workers=2"
    )


def test_workers_of_another_runner_get_the_code():
    settings = Settings(beam_args="--runner=FlinkRunner --flink_master='host:8081'")
    assert connections.beam_args(settings, "/code") == [
        "--setup_file=/code/setup.py",
        "--runner=FlinkRunner",
        "--flink_master=host:8081",
    ]
