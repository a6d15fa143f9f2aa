"""Joins the files of all buckets to those of the item table."""

import json
import os

import numpy as np
from tfx.dsl.io import fileio

from pipeline.items.fields import NUMBER
from pipeline.items.stages import Job, Tally
from transforms import item_table


def assemble(job: Job, tally: Tally, plan: Tally) -> None:
    """Joins the buckets to the files of the table, and writes the result of the job."""
    result = {**tally, **plan}
    if not result["error"]:
        _join(job, "ids", os.path.join(job.output, item_table.IDS))
        if job.choice.title:
            _join(job, "titles", os.path.join(job.output, item_table.TITLES))
        described = []
        for number, made in enumerate(plan["fields"]):
            width = max(tally["widest"][made["name"]])
            _join_arrays(job, number, plan["items"], width)
            if made["kind"] != NUMBER:
                source_file = job.path("vocabulary", number)
                target = os.path.join(job.output, f"vocabulary_{number}")
                fileio.copy(source_file, target, overwrite=True)
            described.append(made | {"width": width})
        with fileio.open(os.path.join(job.output, item_table.DESCRIPTION), "w") as file:
            source_of = {"source": job.request.items, "id": job.choice.item}
            file.write(json.dumps({"items": plan["items"], "fields": described, **source_of}))
    for name in ("pieces", "fields", "widest"):
        result.pop(name, None)
    with fileio.open(os.path.join(job.folder, "result.json"), "w") as file:
        file.write(json.dumps(result))


def _join(job: Job, kind: str, path: str) -> None:
    with fileio.open(path, "wb") as joined:
        for bucket in range(job.buckets):
            with fileio.open(job.path(kind, bucket), "rb") as file:
                while block := file.read(1 << 24):
                    joined.write(block)


def _join_arrays(job: Job, number: int, items: int, width: int) -> None:
    path = os.path.join(job.output, f"field_{number}.npy")
    header = {"descr": "<i4", "fortran_order": False, "shape": (items, width)}
    with fileio.open(path, "wb") as joined:
        np.lib.format.write_array_header_1_0(joined, header)
        for bucket in range(job.buckets):
            with fileio.open(job.path(f"encoded-{number}", bucket), "rb") as file:
                part = np.load(file)
            wide = np.zeros((len(part), width), np.int32)
            wide[:, : part.shape[1]] = part
            joined.write(wide.tobytes())
