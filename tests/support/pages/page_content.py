"""The content of a page, made by hand: what a run leaves, with names that try to break out."""

import copy

BUCKETS = {"medium_from": 5, "long_from": 20}
NASTY = '</script><b id="broken">&amp;"\''
RETRIEVAL = ("recall@20", "recall@100", "recall@500", "hit@10", "ndcg@10", "mrr")
SLICES = ("overall", "history_bucket=short", "history_bucket=long", "target_bucket=0")


def _metrics(auc):
    return {
        "auc": auc,
        "gauc": None,
        "log_loss": 0.6,
        "constant_log_loss": 0.6931,
        "log_loss_gain": 0.09,
        "calibration": 1.1,
        "auc_standard_error": 0.01,
        "gauc_standard_error": None,
        "log_loss_gain_standard_error": 0.02,
        "largest_user_share": 0.2,
        "share_of_users": 1.0,
        "rows": 400,
        "users": 50,
    }


def _curves(shift):
    rows = [20.0] * 20
    return {
        "roc": [min(1.0, (i / 100) ** 0.5 + shift) for i in range(101)],
        "rows_by_score": rows,
        "positives_by_score": [float(i) for i in range(20)],
        "score_sum_by_score": [20 * (i + 0.5) / 20 for i in range(20)],
    }


def _user(name):
    history = [
        {"item": f"item {i}", "time": 1_400_000_000 - i * 86_400, "weights": [0.5 + i, 1.0, 2.0]}
        for i in range(4)
    ]
    return {
        "user": name,
        "rows": 6,
        "log_loss": 1.25,
        "auc": None,
        "targets": [{"item": NASTY, "label": 1, "score": 0.01}],
        "asked": "item 9",
        "time": 1_400_000_000,
        "length": 30,
        "history": history,
    }


def _groups(lows):
    return [
        {"from": low, "events": 10, "weight": [2.0, 1.0, 0.5], "share": [0.5, 0.3, 0.2]}
        for low in lows
    ]


def _evaluation(number):
    return {
        "epoch": number // 2,
        "step": 100 * (number + 1),
        "eval_auc": 0.6 + 0.02 * number,
        "train_auc": 0.62 + 0.03 * number,
        "eval_loss": 0.69 - 0.01 * number,
        "calibrated_loss": 0.68 - 0.01 * number,
        "train_loss": 2.0 - 0.1 * number,
    }


def content():
    """A refused run with a catalogue, bad lines and a served model."""
    metrics = {name: {**_metrics(0.7), "baseline": _metrics(0.72)} for name in SLICES}
    evaluations = [_evaluation(number) for number in range(4)]
    check = {"name": "min_auc", "slice": "overall", "value": 0.7, "bound": 0.8}
    return {
        "report": {
            "run": {
                "time": "2026-11-28 20:00 UTC",
                "trained": "2026-11-28 19:59 UTC",
                "ratings": f"/data/{NASTY}.csv",
                "items": None,
                "generated": False,
                "model": "imn_3p_plus",
                "config": {"passes": 3},
                "recipe": {"epochs": 2},
                "settings": {"max_history_length": 20},
                "training_seed": 0,
                "sampling_seed": 0,
                "best": evaluations[2],
                "evaluations": evaluations,
                "ending": "all epochs are done (2); epoch 2 is kept (step 300, eval AUC 0.6400)",
                "versions": {"imn": "0.2.0", "Python": "3.10.13"},
            },
            "metrics": metrics,
            "controls": {
                "controls": {
                    "popularity": {"auc": 0.5, "gauc": None},
                    "model": {"auc": 0.7, "gauc": 0.69},
                },
                "model_rows": 400,
            },
            "catalogue": {
                "items": 40,
                "rows": 200,
                "systems": {
                    name: {"overall": {key: [0.2 + 0.1 * number, 0.02] for key in RETRIEVAL}}
                    for number, name in enumerate(
                        ("recommend", "first_stage", "popularity", "item_cosine")
                    )
                },
            },
            "verdict": {
                "blessed": False,
                "reason": "Refused: AUC overall 0.7000 < 0.8000.",
                "checks": [{**check, "outcome": "failed", "reason": "AUC overall 0.7000 < 0.8000"}],
            },
            "infra_check": {"blessed": True, "reason": ""},
            "ingestion": {
                "lines": 1_000,
                "bad_lines": {"wrong number of fields": {"lines": 7, "share": 0.007}},
                "duplicates": 1,
                "below_min_rating": 0,
                "events": 992,
                "users": 60,
                "training_items": 40,
                "first_day": "2014-01-01",
                "last_day": "2015-12-31",
                "split": "temporal",
                "eval_begins": "2015-06-01",
                "test_begins": "2015-09-01",
                "negatives": {"kind": "matched", "targets_without": 0},
                "history_buckets": BUCKETS,
                "splits": {
                    name: {"samples": 400, "positives": 200, "users": 50}
                    for name in ("train", "eval", "test")
                },
            },
            "items": {
                "items": 50,
                "filled": {"category": 50, "price": 20},
                "known_items": 39,
                "training_items": 40,
                "known_events": 800,
                "training_events": 810,
            },
            "pushed": None,
        },
        "histograms": {
            "events_by_day": {"2014-01-01": 10, "2014-07-01": 500, "2015-12-31": 482},
            "history_lengths": {
                "train": {"1": 100, "2": 60, "4": 40},
                "eval": {"2": 200},
                "test": {"0": 20, "8": 180},
            },
            "item_frequency": {"items": {"1": 30, "2": 10}, "events": {"1": 30, "2": 27}},
        },
        "bad_lines": {
            "wrong number of fields": [{"place": "ratings.csv, line 7", "text": f"a,b{NASTY}"}]
        },
        "statistics": [
            {"feature": "label", "split": "train", "rows": 400, "missing": 0, "mean": 0.5},
            {"feature": "user_id", "split": "test", "rows": 400, "missing": 0, "distinct": 50},
        ],
        "curves": {"candidate": _curves(0.0), "baseline": _curves(0.02)},
        "diagnostics": {
            "rows": 400,
            "attention": {
                "rows": 100,
                "passes": 3,
                "by_position": _groups((1, 2, 3)),
                "by_age": _groups((0, 7, 1095)),
            },
            "users": {
                "users": 50,
                "considered": 40,
                "wrong": [_user(f"wrong {n} {NASTY}") for n in range(10)],
                "right": [_user("R" * 200), *(_user(f"right {n}") for n in range(9))],
            },
        },
        "costs": {
            "RatingsExampleGen": {"reused": True, "seconds": 4.2, "peak_memory_mb": 900.5},
            "AnomalyStop": {"reused": True, "seconds": None, "peak_memory_mb": None},
            "Trainer": {"reused": False, "seconds": 120.0, "peak_memory_mb": 1800.0},
        },
        "settings": {"ratings": "r.csv", "max_history_length": 20, "epochs": None},
        "command": "IMN_MAX_HISTORY_LENGTH=20 make run RATINGS='a b.csv'",
        "served": "17",
    }


def pushed():
    """The same run without catalogue, bad lines, attention and served model, and pushed."""
    result = copy.deepcopy(content())
    report = result["report"]
    report["pushed"] = "/out/serving_model/imn/18"
    report["run"]["time"] = "2026-11-28 21:00 UTC"
    report["run"]["recipe"]["epochs"] = 3
    report["verdict"] = {"blessed": True, "reason": "Blessed: fine.", "checks": []}
    report["ingestion"]["bad_lines"] = {}
    report["ingestion"] |= {"split": "user", "eval_begins": None, "test_begins": None}
    del report["items"], result["curves"]["baseline"]
    for values in report["metrics"].values():
        del values["baseline"]
    result["bad_lines"] = {}
    report["catalogue"] = None
    result["diagnostics"] |= {"attention": None}
    return result
