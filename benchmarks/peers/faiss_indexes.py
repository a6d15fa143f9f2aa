"""Times faiss' indexes on the vectors of a catalogue, one user at a time.

`benchmarks.serving.approximate` runs `python -m benchmarks.peers.faiss_indexes PLAN`; the plan in
JSON has `vectors` and `users`, files of NumPy, `k` and `threads`.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator

import faiss
import numpy as np

_SAMPLE = 64  # training vectors of k-means a list
_EXPLORED = (1, 4, 16, 64)  # lists of IVF that a query reads, in thousandths of all; at least one
_WIDTHS = (500, 1_000, 2_000)  # of HNSW's search
_NEIGHBOURS, _BUILD = 32, 80  # of HNSW

Search = Callable[[np.ndarray], np.ndarray]


def indexes(vectors: np.ndarray, k: int) -> Iterator[tuple[str, float, float, Search]]:
    """Each index: its name, seconds to build it, MB it takes, and its search."""
    count, dim = vectors.shape
    exact = faiss.IndexFlatIP(dim)
    start = time.perf_counter()
    exact.add(vectors)
    yield "exact (faiss)", time.perf_counter() - start, vectors.nbytes / 1e6, _search(exact, k)
    del exact

    lists = int(2 ** round(np.log2(4 * np.sqrt(count))))
    inverted = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    inverted.cp.max_points_per_centroid = _SAMPLE
    start = time.perf_counter()
    inverted.train(vectors)
    inverted.add(vectors)
    took = time.perf_counter() - start
    size = (vectors.nbytes + 8 * count + 4 * lists * dim) / 1e6
    for share in _EXPLORED:
        probes = max(1, lists * share // 1_000)
        inverted.nprobe = probes
        yield f"IVF, {probes} of {lists:,} lists", took, size, _search(inverted, k)
    del inverted

    graph = faiss.IndexHNSWFlat(dim, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = _BUILD
    start = time.perf_counter()
    graph.add(vectors)
    took = time.perf_counter() - start
    size = (vectors.nbytes + 8 * _NEIGHBOURS * count) / 1e6
    for width in _WIDTHS:
        graph.hnsw.efSearch = width
        yield f"HNSW, width {width:,}", took, size, _search(graph, k)


def _search(index: faiss.Index, k: int) -> Search:
    return lambda users: index.search(users, k)[1]


def main() -> None:
    """Prints the rows as JSON."""
    plan = json.loads(sys.argv[1])
    faiss.omp_set_num_threads(plan["threads"])
    vectors, users = np.load(plan["vectors"]), np.load(plan["users"])
    rows, best = [], None
    for name, build, size, search in indexes(vectors, plan["k"]):
        found = search(users)  # warms up, too
        best = found if best is None else best
        taken = []
        for user in users:
            start = time.perf_counter()
            search(user[None])
            taken.append(1_000 * (time.perf_counter() - start))
        same = [len(np.intersect1d(*pair)) for pair in zip(found, best, strict=True)]
        rows.append(
            {
                "index": name,
                "p50_ms": float(np.percentile(taken, 50)),
                "p99_ms": float(np.percentile(taken, 99)),
                "recall": float(np.mean(same)) / plan["k"],
                "build_s": build,
                "mb": size,
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"faiss": faiss.__version__, "rows": rows, "peak_mb": peak}))


if __name__ == "__main__":
    main()
