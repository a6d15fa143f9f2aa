"""`make recommend`: whose history, which candidates, which order, and the reasons."""

import gzip
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from pipeline.local import lineage
from recommend import __main__ as recommend
from recommend import connection, titles
from serving import server
from serving.errors import invalid
from tests.support.raw_examples import DAY, NOW

# User, item, rating, days before NOW; the lines of a file are in no order.
RATINGS = [
    ("ann", "i003", 5, 10),
    ("bob", "i040", 3, 0),
    ("ann", "i001", 4, 30),
    ("ann", "i002", 1, 20),
    ("bob", "i005", 5, 50),
    ("ann", "i001", 4, 30),
]


@pytest.fixture
def output(export, tmp_path):
    shutil.copytree(export, tmp_path / "runs" / "serving_model" / "imn" / "7")
    rows = [f"{user},{item},{stars},{NOW - day * DAY}" for user, item, stars, day in RATINGS]
    text = "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    (tmp_path / "ratings.csv").write_text(text)
    return tmp_path / "runs"


@pytest.fixture
def run(output, monkeypatch, capsys):
    """Gives exit status, lines of stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("IMN_")]:
        monkeypatch.delenv(name)

    def call(*arguments, **settings):
        settings = {"IMN_RATINGS": str(output.parent / "ratings.csv"), **settings}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        status = recommend.main([*arguments, "--output", str(output)])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return call


def table(lines):
    """Items and scores in the order printed, and the lines of passes below each."""
    rows, reasons = [], {}
    for line in lines[lines.index("rank   score  first stage  item") + 1 :]:
        words = line.split()
        if words and words[0].isdigit():
            rows.append((words[3], float(words[1])))
        elif words and words[0] == "pass":
            reasons.setdefault(rows[-1][0], []).append(line.split(", ", 1)[1])
    return rows, reasons


def asked(export, signature, history, days, candidates):
    """The same model through Python's loader of SavedModels, asked by hand."""
    answer = tf.saved_model.load(export).signatures[signature](
        history_item=tf.constant([history]),
        history_time=tf.constant([[NOW - day * DAY for day in days]], tf.int64),
        history_length=tf.constant([len(history)], tf.int64),
        request_time=tf.constant([NOW], tf.int64),
        candidates=tf.constant([candidates]),
    )
    return {name: value.numpy()[0] for name, value in answer.items()}


HISTORY, DAYS = ["i001", "i002", "i003"], [30, 20, 10]


def test_what_is_new_to_the_user_comes_in_the_order_of_its_scores(run, export):
    status, out, _ = run("ann", "--top", "1000")
    assert status == 0
    rows, _ = table(out)
    items = [item for item, _ in rows]
    everything = {f"i{number:03}" for number in range(60)}
    assert set(items) == everything - set(HISTORY)
    expected = asked(export, "rank", HISTORY, DAYS, items)["scores"]
    np.testing.assert_allclose([score for _, score in rows], expected, atol=6e-5)
    assert "The order also weighs how often people choose" in " ".join(out)
    rows, _ = table(run("ann", "--top", "1000", "--candidates", "1000")[1])
    assert {item for item, _ in rows} == everything - set(HISTORY)
    assert (np.diff([score for _, score in rows]) <= 0).all()
    assert "ann: 3 events, 3 of them with an item that the model knows" in out[0]


def test_reasons_are_the_heaviest_events_of_every_pass(run, export):
    _, out, _ = run("ann", "--top", "2")
    rows, reasons = table(out)
    attention = asked(export, "explain", HISTORY, DAYS, [item for item, _ in rows])["attention"]
    for k, (item, _) in enumerate(rows):
        assert len(reasons[item]) == 3  # passes of IMN 3P+
        for own, text in zip(attention[:, k], reasons[item], strict=True):
            heaviest = np.argsort(-own)
            events = "; ".join(f"{own[j]:.3f} {HISTORY[j]}" for j in heaviest)
            assert text == f"mean {sum(own) / 3:.3f}: {events}"


def test_items_below_the_wanted_rating_are_no_history_but_were_had(run, export):
    _, out, _ = run("ann", "--top", "100", IMN_MIN_RATING="2")
    rows, _ = table(out)
    items = [item for item, _ in rows]
    assert not set(items) & set(HISTORY)
    expected = asked(export, "rank", ["i001", "i003"], [30, 10], items)["scores"]
    np.testing.assert_allclose([score for _, score in rows], expected, atol=6e-5)
    status, out, _ = run("ann", IMN_MIN_RATING="5.5")
    assert status == 0
    assert "no event that training would read" in out[0]
    assert not any("pass" in line for line in out)


def test_candidates_are_the_most_frequent_or_those_of_a_file(run, export, tmp_path):
    with open(f"{export}/assets/item") as file:
        known = file.read().split()
    _, out, _ = run("ann", "--candidates", "5")
    new = [item for item in known if item not in HISTORY]
    assert {item for item, _ in table(out)[0]} == set(new[:5])
    (tmp_path / "ids").write_text("i040\ni002\r\nnobody knows it\ni040\n")
    _, out, _ = run("ann", "--candidates", str(tmp_path / "ids"))
    assert [words[3:] for line in out if (words := line.split()) and words[0] in "12"] in (
        [["i040"], ["nobody", "knows", "it"]],
        [["nobody", "knows", "it"], ["i040"]],
    )


def test_the_whole_catalogue_is_searched(run, export):
    """The items, scores and places of the signature, without what was rated below `min_rating`."""
    _, out, _ = run("ann", "--top", "5", IMN_MIN_RATING="2")
    answer = tf.saved_model.load(export).signatures["recommend"](
        history_item=tf.constant([["i001", "i003"]]),
        history_time=tf.constant([[NOW - day * DAY for day in (30, 10)]], tf.int64),
        history_length=tf.constant([2], tf.int64),
        request_time=tf.constant([NOW], tf.int64),
        k=tf.constant([60], tf.int64),
    )
    items = [item.decode() for item in answer["items"].numpy()[0]]
    wanted = [row for row, item in enumerate(items) if item not in ("i002", "")][:5]
    rows, _ = table(out)
    assert [item for item, _ in rows] == [items[row] for row in wanted]
    scores = answer["probabilities"].numpy()[0][wanted]
    np.testing.assert_allclose([score for _, score in rows], scores, atol=6e-5)
    assert "ranked the best of the catalogue that this user has not rated" in out[1]


def test_a_model_without_a_first_stage_ranks_the_most_frequent(run, monkeypatch):
    real = connection.connect

    def without(*arguments):
        predict, signatures, model = real(*arguments)
        return predict, signatures - {"recommend_filtered"}, model

    monkeypatch.setattr(connection, "connect", without)
    _, out, _ = run("ann", "--top", "3")
    assert "ranked 57 items" in out[1]
    assert [line.split()[2] for line in out if line[:4].strip().isdigit()] == ["-"] * 3


def test_a_server_gives_the_same_answer(run, running):
    local = run("ann")[1]
    status, out, err = run("ann", "--server", f"127.0.0.1:{running.grpc.port}")
    assert (status, err) == (0, [])
    assert out[2:] == local[2:]
    status, _, err = run("ann", "--server", "127.0.0.1:1")
    assert status == 2
    assert "127.0.0.1:1 answered UNAVAILABLE" in err[0]


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        ([""], {}, "make recommend ID=USER"),
        (["nobody"], {}, "User 'nobody' has no ratings in"),
        (["ann"], {"IMN_MODEL": "din"}, "Pushed: imn; choose with MODEL=."),
        (["ann"], {"IMN_RATINGS": "nowhere.csv"}, "nowhere.csv"),
        (["ann"], {"IMN_RATINGS": ""}, "Set RATINGS= to them."),
        (["ann"], {"IMN_MODEL": "dine"}, "dine"),
        (["ann", "--candidates", "nowhere"], {}, "must be a number or a file of ids"),
        (["ann", "--candidates", "0"], {}, "must include an item that the user has not rated"),
        (
            ["ann", "--titles", "nowhere"],
            {},
            "`--titles` must be a readable file. Received: nowhere",
        ),
        (["ann", "--top", "0"], {}, "`--top` must be at least 1"),
        (["ann", "--only", "category=x"], {}, "Received: category=x. Fields: none."),
        (["ann", "--only", "a=x", "--candidates", "5"], {}, "must go without `--candidates`"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(run, arguments, settings, said):
    status, _, err = run(*arguments, **settings)
    assert status == 2
    assert len(err) == 1
    assert said in err[0]


def cut_variables(folder):
    (data,) = (folder / "variables").glob("*.data*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda folder: (folder / "saved_model.pb").unlink(), "must load"),
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"\x0a\xff"), "must load"),
        (lambda folder: shutil.rmtree(folder / "variables"), "must load"),
        (cut_variables, "must load"),
        (lambda folder: (folder / "assets" / "item").unlink(), "must have a vocabulary"),
        (lambda folder: shutil.rmtree(folder / "assets"), "must have its assets"),
        (lambda folder: (shutil.rmtree(folder), folder.mkdir()), "must have its assets"),
    ],
)
def test_a_newest_version_that_is_broken_is_named(run, output, broken, says):
    folder = output / "serving_model" / "imn" / "8"
    shutil.copytree(folder.with_name("7"), folder)
    broken(folder)
    status, out, err = run("ann")
    assert (status, out) == (2, [])
    (line,) = err
    for words in (f"The newest pushed version {says}. {folder} does not: ", "Remove the folder"):
        assert words in line


def test_a_model_that_refuses_is_named(run, monkeypatch, output):
    def run_(*arguments, seconds):
        raise invalid("`k` must be positive.")

    monkeypatch.setattr("serving.model.Model.run", run_)
    status, _, err = run("ann")
    assert (status, len(err)) == (2, 1)
    folder = output / "serving_model" / "imn" / "7"
    assert f"{folder} does not: `k` must be positive. Remove" in err[0]


def test_models_without_weights_say_so_and_rank(run, monkeypatch):
    real = connection.connect

    def without(*arguments):
        predict, signatures, model = real(*arguments)
        return predict, signatures - {"explain"}, model

    monkeypatch.setattr(connection, "connect", without)
    _, out, _ = run("ann")
    assert len(table(out)[0]) == 10
    assert "has no attention weights" in out[-1]


JSON = (
    '{"title": "Dune, \\"new\\"", "parent_asin": "i001"}\n{"asin": "i002"}\nbroken "asin": "i003"\n'
)
PYTHON = "{'asin': 'i001', 'title': 'Dune, \"new\"', 'related': {'also_bought': ['i002']}}\n"
CSV = 'item_id,year,title\ni001,1965,"Dune, ""new"""\ni009,2000,Other\ncut\n'


@pytest.mark.parametrize("text", [JSON, PYTHON, CSV, CSV.replace(",", "\t")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_titles_come_from_any_of_the_usual_files(tmp_path, text, pack):
    text = text.replace('"Dune\t', '"Dune,')  # within quotes, a comma stays one
    (tmp_path / "meta").write_bytes(pack(text.encode()))
    found = titles.read(str(tmp_path / "meta"), {"i001", "i002", "i003"})
    assert found == {"i001": 'Dune, "new"'}


def test_titles_stand_beside_ids(run, tmp_path):
    rows = [json.dumps({"asin": f"i{n:03}", "title": f"Title {n}"}) for n in range(60)]
    (tmp_path / "meta.jsonl").write_text("\n".join(rows))
    _, out, _ = run("ann", "--top", "1", "--titles", str(tmp_path / "meta.jsonl"))
    rows, reasons = table(out)
    item = rows[0][0]
    assert any(line.endswith(f"{item}  Title {int(item[1:])}") for line in out)
    assert "i003  Title 3" in reasons[item][0]


@pytest.mark.parametrize(("titled", "count"), [(["i001", "i003"], 2), (["elsewhere"], 0)])
def test_items_without_a_title_are_counted(run, tmp_path, titled, count):
    path = tmp_path / "meta.jsonl"
    path.write_text("".join(json.dumps({"asin": item, "title": "T"}) + "\n" for item in titled))
    _, out, _ = run("ann", "--candidates", "5", "--titles", str(path))
    total = len(HISTORY) + len(table(out)[0])
    assert out[-1].startswith(f"{path} has titles for {count} of the {total} items")


def test_events_that_the_model_does_not_know_are_counted(run, output):
    ratings = output.parent / "ratings.csv"
    ratings.write_text(ratings.read_text() + f"ann,new,5,{NOW - 5 * DAY}\n")
    _, out, _ = run("ann")
    assert "ann: 4 events, 3 of them with an item that the model knows" in out[0]


def test_a_model_that_knows_no_event_is_refused(run, output):
    other = output.parent / "other.csv"
    other.write_text(f"user_id,item_id,rating,timestamp\nann,new,5,{NOW}\nann,old,5,{NOW - DAY}\n")
    status, out, err = run("ann", IMN_RATINGS=str(other))
    assert (status, out, len(err)) == (2, [], 1)
    for words in ("must know an item", "user 'ann' of", "2 events", "OUTPUT=", "RATINGS="):
        assert words in err[0]


def test_the_version_is_that_of_pyproject(capsys):
    pyproject = (pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text()
    (expected,) = re.findall(r'^version = "(.+)"$', pyproject, re.MULTILINE)
    for main in (recommend.main, server.main):
        with pytest.raises(SystemExit) as exit_:
            main(["--version"])
        assert exit_.value.code == 0
        assert capsys.readouterr().out.strip() == expected


def test_the_ratings_are_those_of_the_run_that_pushed(run, output):
    """A store with two runs: the version's own counts, not the last."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(output / "metadata.db")
    connection.sqlite.connection_mode = connection.sqlite.READWRITE_OPENCREATE
    store = MetadataStore(connection)
    for number, (version, ratings) in enumerate((("7", "ratings.csv"), ("8", "other.csv"))):
        push(store, number, f"/elsewhere/imn/{version}", str(output.parent), ratings)
    found = lineage.ingestion_behind(connection, "runs/serving_model/imn/7")
    assert found["ratings"] == str(output.parent / "ratings.csv")
    assert found["min_rating"] == 2.0
    assert lineage.ingestion_behind(connection, "runs/serving_model/imn/9") is None
    _, named, _ = run("ann", IMN_MIN_RATING="2")
    status, out, _ = run("ann", IMN_RATINGS="", IMN_MIN_RATING="0")
    assert status == 0
    assert out == named


def push(store, number, destination, folder, pattern):
    """One run of a pipeline, as far as it is read here."""
    kinds = {name: metadata_store_pb2.ExecutionType(name=name) for name in ("Gen", "Push")}
    kinds["Gen"].name = "pipeline.ingest.component.RatingsExampleGen"
    kinds = {name: store.put_execution_type(kind) for name, kind in kinds.items()}
    context = metadata_store_pb2.Context(
        type_id=store.put_context_type(metadata_store_pb2.ContextType(name="pipeline_run")),
        name=f"run {number}",
    )
    gen = metadata_store_pb2.Execution(type_id=kinds["Gen"])
    split = {"splits": [{"name": "ratings", "pattern": pattern}]}
    for name, text in (("input_config", json.dumps(split)), ("input_base", folder)):
        gen.custom_properties[name].string_value = text
    gen.custom_properties["layout"].string_value = "auto"
    gen.custom_properties["min_rating"].double_value = 2.0
    gen.custom_properties["sampling_seed"].int_value = 0
    pushed = metadata_store_pb2.Artifact(
        type_id=store.put_artifact_type(metadata_store_pb2.ArtifactType(name="PushedModel"))
    )
    pushed.custom_properties["pushed_destination"].string_value = destination
    event = metadata_store_pb2.Event(type=metadata_store_pb2.Event.OUTPUT)
    store.put_execution(gen, [], [context])
    (saved,) = store.get_contexts_by_type("pipeline_run")[-1:]
    store.put_execution(
        metadata_store_pb2.Execution(type_id=kinds["Push"]), [(pushed, event)], [saved]
    )
