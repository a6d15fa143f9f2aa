"""Which files are read, and their digest."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configs import Settings
from pipeline.errors import InputError
from pipeline.ingest.sources import filesystem, reading
from tests.support.ratings_files import read, write

ROW = "u1,i1,5.0,1365811200\n"


def names(listing, folder):
    return [path.removeprefix(f"{folder}/") for path in listing.paths]


def test_folders_and_globs(tmp_path):
    for name in ("a.csv", "b/part-1", "b/c/part-2", "b/[x].csv"):
        write(tmp_path / name, ROW)
    skipped = ("_SUCCESS", "b/.hidden", "b/part-1.crc", "_temporary/part-9", "b/.git/x", "z.csv")
    for name in skipped:
        write(tmp_path / name, "" if name == "z.csv" else ROW)
    everything = ["a.csv", "b/[x].csv", "b/c/part-2", "b/part-1"]
    for ratings in (f"{tmp_path}", f"{tmp_path}/"):
        listing = filesystem.list_files(ratings)
        assert names(listing, tmp_path) == everything
        assert sorted(path.removeprefix(f"{tmp_path}/") for path, _ in listing.skipped) == sorted(
            skipped
        )
    listing = filesystem.list_files(f"{tmp_path}/**")
    assert names(listing, tmp_path) == everything
    assert names(filesystem.list_files(f"{tmp_path}/**/part-*"), tmp_path) == everything[2:]
    assert names(filesystem.list_files(f"{tmp_path}/*.csv"), tmp_path) == ["a.csv"]
    assert names(filesystem.list_files(f"{tmp_path}/b/[x].csv"), tmp_path) == ["b/[x].csv"]
    # A file that is named by itself is read, whatever its name.
    assert names(filesystem.list_files(f"{tmp_path}/b/.hidden"), tmp_path) == ["b/.hidden"]


def test_a_hidden_folder_above_the_files_does_not_matter(tmp_path):
    write(tmp_path / ".cache" / "_data" / "a.csv", ROW)
    listing = filesystem.list_files(str(tmp_path / ".cache" / "_data" / "*.csv"))
    assert names(listing, tmp_path) == [".cache/_data/a.csv"]


def test_nothing_to_read_is_refused(tmp_path):
    for ratings in (tmp_path, tmp_path / "nothing*.csv", tmp_path / "missing.csv"):
        with pytest.raises(InputError, match="no data file"):
            filesystem.list_files(str(ratings))
    write(tmp_path / "_SUCCESS", "")
    with pytest.raises(InputError, match="_SUCCESS"):
        filesystem.list_files(str(tmp_path))


def test_empty_parts_are_left_out(tmp_path):
    write(tmp_path / "in" / "a.csv", ROW)
    write(tmp_path / "in" / "b.csv", "\n \n")
    assert len(read(tmp_path / "in")[0]) == 1
    with pytest.raises(InputError, match="empty"):
        read(tmp_path / "in" / "b.csv")


@pytest.mark.parametrize("ratings", ["in", "in/", "in/**", "in/**/*.csv"])
def test_links(tmp_path, ratings):
    write(tmp_path / "other" / "deep" / "b.csv", ROW)
    write(tmp_path / "in" / "data" / "a.csv", ROW)
    links = {
        "in/linked": "../other",
        "in/_marked": "data",  # another way to files that are read
        "in/data/circle": "..",
        "other/deep/back": "../../in",
        "in/file.csv": "../other/deep/b.csv",
        "in/broken.csv": "nowhere.csv",
        "in/itself.csv": "itself.csv",
    }
    for path, target in links.items():
        (tmp_path / path).symlink_to(target)
    listing = filesystem.list_files(f"{tmp_path}/{ratings}")
    assert names(listing, tmp_path) == ["in/data/a.csv", "in/file.csv", "in/linked/deep/b.csv"]
    assert listing.skipped == (
        (f"{tmp_path}/in/broken.csv", "a broken link"),
        (f"{tmp_path}/in/itself.csv", "a broken link"),
    )


@pytest.mark.parametrize("ratings", ["in", "in/broken.csv", "in/*.csv"])
def test_a_broken_link_alone_is_refused(tmp_path, ratings):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.csv").symlink_to("nowhere.csv")
    with pytest.raises(InputError, match=r"no data file.*broken\.csv' \(a broken link\)"):
        filesystem.list_files(str(tmp_path / ratings))


def test_a_folder_that_is_a_link_is_read(tmp_path):
    write(tmp_path / "real" / "a.csv", ROW)
    (tmp_path / "link").symlink_to("real")
    assert names(filesystem.list_files(str(tmp_path / "link")), tmp_path) == ["link/a.csv"]


def parquet_part(count):
    times = pa.array([f"2013-04-{n + 1:02}" for n in range(count)], pa.string())
    ids = pa.array([f"x{n}" for n in range(count)], pa.string())
    part = io.BytesIO()
    pq.write_table(pa.table({"user_id": ids, "item_id": ids, "timestamp": times}), part)
    return part.getvalue()


def csv_part(count):
    rows = "".join(f"x{n},x{n},2013-04-{n + 1:02}\n" for n in range(count))
    return ("user_id,item_id,timestamp\n" + rows).encode()


PARTS = {
    "Parquet": parquet_part,
    "CSV": csv_part,
    "CSV in gzip": lambda count: gzip.compress(csv_part(count)),
}


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("first", [0, 1])
def test_parts_without_rows_are_left_out(tmp_path, kind, first):
    """As Spark writes them where a task had no rows."""
    paths = [write(tmp_path / f"part-{n}", PARTS[kind](3 * (n != first))) for n in range(3)]
    assert [event[0] for event in read(tmp_path)[0]] == ["x0", "x0", "x1", "x1", "x2", "x2"]
    lines = reading.describe(Settings(ratings=str(tmp_path)))
    assert lines[0].startswith("Ratings: 2 files")
    assert lines[1] == f"  left out: {paths[first]} (empty)"


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("count", [1, 2])
def test_parts_that_are_all_without_rows_are_refused(tmp_path, kind, count):
    for number in range(count):
        write(tmp_path / f"part-{number}", PARTS[kind](0))
    with pytest.raises(InputError, match=r"empty|must have rows"):
        reading.describe(Settings(ratings=str(tmp_path)))


def test_a_header_before_a_row_longer_than_the_head_is_not_alone(tmp_path):
    row = "u,i," + "x" * 300_000 + ",1365811200\n"
    write(tmp_path / "a", "user_id,item_id,text,timestamp\n" + row)
    write(tmp_path / "b", "user_id,item_id,text,timestamp\nu,i,,1365811200\n")
    assert len(read(tmp_path)[0]) == 2


def test_digest_goes_by_content(tmp_path):
    path = write(tmp_path / "f", ROW)
    before = filesystem.digest([path])
    (tmp_path / "f").touch()
    assert filesystem.digest([path]) == before
    write(tmp_path / "f", ROW.replace("1365811200", "1365811201"))
    assert filesystem.digest([path]) != before
