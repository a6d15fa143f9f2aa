"""The five leak rules of a fair sample, on generated ratings."""

import collections
import datetime
import gzip
import pathlib
import random
import tempfile

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pipeline.configs import Settings
from pipeline.errors import InputError
from tests.support import ingested
from tests.support.ingested import DAY, FIRST

sampling = st.fixed_dictionaries(
    {
        "max_history_length": st.integers(1, 6),
        "min_history_length": st.integers(0, 2),
        "shift": st.integers(1, 3),
        "max_windows_per_user": st.integers(1, 6),
        "negatives": st.sampled_from(["matched", "uniform", "popularity"]),
        "negatives_per_positive": st.integers(1, 2),
        "same_day": st.sampled_from(["include", "exclude"]),
        "eval_share": st.just(0.2),
        "test_share": st.just(0.2),
        "sampling_seed": st.integers(0, 3),
        "event_fields": st.sampled_from(["", "rating"]),
    }
)
# Nobody else has what U1 has not: it owns a target that is drawn from, and gets no sample itself.
ONE_HAS_ALL = [("U0", "I0", 15_046 * DAY), *(("U1", f"I{n}", 15_046 * DAY) for n in range(3))]
SMALLEST = {
    "max_history_length": 1,
    "min_history_length": 0,
    "shift": 1,
    "max_windows_per_user": 1,
    "negatives": "matched",
    "negatives_per_positive": 1,
    "same_day": "include",
    "eval_share": 0.2,
    "test_share": 0.2,
    "sampling_seed": 0,
}
any_split = st.sampled_from(["temporal", "leave_last", "user"])
checked = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def run(events: list, values: dict, buckets: int = 1) -> tuple[list[ingested.Sample], dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = ingested.write_csv(folder / "ratings.csv", events, scored=True)
        try:
            plan = ingested.by_stages(
                Settings(ratings=path, **values), folder / "out", 500, buckets
            )
        except InputError:  # an empty split
            assume(False)
        samples = ingested.read(folder / "out")
    fields = values.get("event_fields", "") != ""
    for sample in samples:
        # The values in a history are those of the events in it: nothing of the target is there.
        scores = tuple(ingested.score(sample.user, item, at) for item, at in sample.history)
        assert sample.values == ((("history_rating", scores),) if fields else ())
    return samples, plan


@checked
@given(ingested.ratings(), sampling, any_split, st.integers(1, 3))
def test_history_holds_only_what_came_before_the_target(events, values, split, buckets):
    samples, _ = run(events, {**values, "split": split}, buckets)
    record = ingested.by_user(events)
    before = set()
    for sample in samples:
        assert len(sample.history) <= values["max_history_length"]
        assert set(sample.history) <= record[sample.user]
        times = [at for _, at in sample.history]
        assert times == sorted(times)
        if values["same_day"] == "exclude":
            assert all(at // DAY < sample.time // DAY for at in times)
        assert all(at <= sample.time for at in times)
        if sample.label:
            before |= {(sample.user, e, (sample.target, sample.time)) for e in sample.history}
    # Within a day the order is a hash: whatever it is, no two events precede each other.
    assert not any((user, later, sooner) in before for user, sooner, later in before)


@checked
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 2_500)),
        min_size=60,
        max_size=90,
        unique_by=lambda event: (event[0], event[2]),
    ),
    st.sampled_from(["ms", "us", "fraction", "iso"]),
)
def test_the_order_inside_a_second_is_that_of_the_data(events, unit):
    start = FIRST * DAY
    texts = {
        "ms": lambda ms: str(start * 1000 + ms),
        "us": lambda ms: str((start * 1000 + ms) * 1000),
        "fraction": lambda ms: f"{start + ms // 1000}.{ms % 1000:03}",
        "iso": lambda ms: (
            datetime.datetime.fromtimestamp(start, datetime.timezone.utc)
            + datetime.timedelta(milliseconds=ms)
        ).isoformat(),
    }
    rows = [f"U{user},I{item},{texts[unit](ms)}\n" for user, item, ms in events]
    values = SMALLEST | {"max_history_length": 5, "max_windows_per_user": 99, "split": "leave_last"}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "ratings.csv").write_text("user,item,time\n" + "".join(rows))
        settings = Settings(ratings=str(folder / "ratings.csv"), **values)
        try:
            ingested.by_stages(settings, folder / "out", 500)
        except InputError:  # somebody has all items
            assume(False)
        samples = [s for s in ingested.read(folder / "out") if s.label]
    for sample in samples:
        user = int(sample.user[1:])
        record = [item for of, item, ms in sorted(events, key=lambda e: e[2]) if of == user]
        before = record[: record.index(int(sample.target[1:]))]
        assert [int(item[1:]) for item, _ in sample.history] == before[-5:]


@checked
@given(ingested.ratings(), sampling, st.integers(1, 3))
def test_splits_by_time_do_not_overlap(events, values, buckets):
    samples, _ = run(events, {**values, "split": "temporal"}, buckets)
    days = {
        split: [s.time // DAY for s in samples if s.split == split]
        for split in ("train", "eval", "test")
    }
    ordered = sorted(at // DAY for _, _, at in set(events))
    eval_begins, test_begins = (ordered[int(len(ordered) * share)] for share in (0.6, 0.8))
    assert max(days["train"]) < eval_begins <= min(days["eval"])
    assert max(days["eval"]) < test_begins <= min(days["test"])


@checked
@given(ingested.ratings(), sampling, st.integers(1, 3))
def test_a_users_last_events_are_held_out(events, values, buckets):
    samples, _ = run(events, {**values, "split": "leave_last"}, buckets)
    positives = [s for s in samples if s.label]
    assert len({(s.user, s.target, s.time) for s in positives}) == len(positives)
    order = ("train", "eval", "test")
    held = {(s.user, s.target, s.time): order.index(s.split) for s in positives}
    for sample in positives:
        for item, at in sample.history:
            # An event of a later split is never in the history of an earlier one.
            assert held.get((sample.user, item, at), 0) <= order.index(sample.split)
    for user, record in ingested.by_user(events).items():
        tested = [s for s in positives if s.user == user and s.split == "test"]
        newest = sorted(at for _, at in record)[-max(1, int(len(record) * 0.2 + 0.5)) :]
        assert all(s.time >= newest[0] for s in tested)
        assert len(tested) <= len(newest)


@checked
@given(ingested.ratings(users=12), sampling, st.integers(1, 3))
def test_no_user_is_in_two_splits(events, values, buckets):
    samples, _ = run(events, {**values, "split": "user"}, buckets)
    splits = collections.defaultdict(set)
    for sample in samples:
        splits[sample.user].add(sample.split)
    assert all(len(of_user) == 1 for of_user in splits.values())


@checked
@given(ingested.ratings(), sampling, any_split, st.integers(1, 3))
@example(ONE_HAS_ALL, SMALLEST, "leave_last", 1)
def test_negatives_are_strangers_and_positives_are_new(events, values, split, buckets):
    samples, _ = run(events, {**values, "split": split}, buckets)
    items = {user: {item for item, _ in of} for user, of in ingested.by_user(events).items()}
    owners = collections.defaultdict(set)
    targets = collections.defaultdict(set)
    for sample in samples:
        targets[sample.split].add(sample.target)
        if sample.label:
            owners[sample.split, sample.target].add(sample.user)
    groups = collections.defaultdict(list)
    for sample in samples:
        groups[sample.split, sample.user, sample.time, sample.history].append(sample)
        if sample.label:
            assert sample.target not in {item for item, _ in sample.history}
            record = ingested.by_user(events)[sample.user]
            assert sample.time == min(at for item, at in record if item == sample.target)
        else:
            assert sample.target not in items[sample.user]
            if values["negatives"] == "matched":
                # Whoever has all that could be drawn is given no negative, and so no sample.
                unserved = {user for user, own in items.items() if own >= targets[sample.split]}
                assert (owners[sample.split, sample.target] | unserved) - {sample.user}
    for group in groups.values():
        labels = [sample.label for sample in group]
        assert labels.count(0) == values["negatives_per_positive"] * labels.count(1)


@checked
@given(ingested.ratings(), sampling, any_split, st.integers(2, 5), st.randoms())
def test_samples_do_not_depend_on_files_lines_or_buckets(events, values, split, buckets, chance):
    values = {**values, "split": split}
    samples, _ = run(events, values)
    shuffled = events + chance.sample(events, 5)  # some lines twice
    chance.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        cut = chance.randrange(1, len(shuffled))
        ingested.write_csv(folder / "in" / "a.csv", shuffled[:cut], scored=True)
        path = ingested.write_csv(folder / "in" / "b.csv", shuffled[cut:], scored=True)
        compressed = gzip.compress(pathlib.Path(path).read_bytes())
        pathlib.Path(path).write_bytes(compressed)
        for range_bytes in (100, 1 << 20):
            out = folder / str(range_bytes)
            given_ = Settings(ratings=str(folder / "in" / "*.csv"), **values)
            ingested.by_stages(given_, out, range_bytes, buckets)
            assert ingested.read(out) == samples


@checked
@given(ingested.ratings(), sampling, st.integers(1, 3))
def test_counts_and_pools_come_from_training_alone(events, values, buckets):
    samples, _ = run(events, {**values, "split": "temporal"}, buckets)
    ordered = sorted(at // DAY for _, _, at in set(events))
    boundary = ordered[int(len(ordered) * 0.6)]
    trained = collections.Counter(item for _, item, at in set(events) if at // DAY < boundary)
    lengths = {s.user: 0 for s in samples if s.split == "train"}
    for sample in samples:
        count = trained[sample.target]
        expected = "0" if count == 0 else "1-4" if count < 5 else "5-19" if count < 20 else "20-99"
        assert sample.target_bucket == expected
        if values["negatives"] != "matched" and not sample.label:
            assert count > 0
    buckets_of = collections.defaultdict(set)
    for sample in samples:
        buckets_of[sample.split, sample.user].add(sample.history_bucket)
    assert all(len(names) == 1 for names in buckets_of.values())
    # By definition at most a tenth of the users of train are long, and at most half are short.
    of_train = [next(iter(names)) for (s, _), names in buckets_of.items() if s == "train"]
    assert of_train.count("long") * 10 <= len(lengths)
    assert of_train.count("short") * 2 <= len(lengths)


def test_seed_changes_the_draw():
    chance = random.Random(0)
    days = [(15_000 + chance.randrange(20)) * DAY for _ in range(200)]
    events = [(f"U{chance.randrange(6)}", f"I{chance.randrange(60)}", day) for day in days]
    first, second = (run(events, {"sampling_seed": seed})[0] for seed in (0, 1))
    assert first != second
