"""compare_numpy.py EXPECTED ACTUAL: what `faultline compare` measures between two full traces, in numpy, for its time.

Reads a line, compares, prints {"open_ms", "compare_ms", "pairs", "checksum"}, until there are no more lines. Sums are f64, as ours.
"""
import json
import sys
import time

import numpy as np
import pyarrow as pa


def load(path):
    table = pa.ipc.open_file(pa.memory_map(path)).read_all()
    taps = table["tap"].to_pylist()
    return {(step, tap): i for i, (step, tap) in enumerate(zip(table["step"].to_pylist(), taps))}, table


def values(table, index):
    scalar = table["values"][index]
    rows = max(1, len(table["row_rms"][index].values))
    return scalar.values.to_numpy(zero_copy_only=False).reshape(rows, -1)


def ulps(e, a):
    at = np.linspace(0, e.size - 1, min(256, e.size)).astype(np.int64)
    keys = [x.ravel()[at].view(np.int32).astype(np.int64) for x in (e, a)]
    keys = [np.where(k < 0, -(k & 0x7FFFFFFF), k) for k in keys]
    return np.percentile(np.abs(keys[1] - keys[0]), [50, 99])


def distance(e, a):
    finite = np.isfinite(e) & np.isfinite(a)
    d = a.astype(np.float64) - e
    if not finite.all():
        d[~finite] = 0
    e64, a64 = e.astype(np.float64), a.astype(np.float64)
    rows, energy, other = (np.einsum("ij,ij->i", x, x) for x in (d, e64, a64))
    product = np.sqrt(energy.sum() * other.sum())
    cosine = (energy.sum() + other.sum() - rows.sum()) / (2 * product) if product > 0 else None
    worst = np.max(rows / np.where(energy > 0, energy, 1))
    return rows.sum(), energy.sum(), worst, cosine, np.unravel_index(np.argmax(np.abs(d)), d.shape), ulps(e, a), finite.sum()


for _ in sys.stdin:
    start = time.perf_counter()
    (expected, e), (actual, a) = load(sys.argv[1]), load(sys.argv[2])
    opened = time.perf_counter()
    pairs = [(expected[key], actual[key]) for key in expected if key in actual]
    found = [distance(values(e, i), values(a, j)) for i, j in pairs if e["values"][i].is_valid and a["values"][j].is_valid]
    done = time.perf_counter()
    times = {"open_ms": 1000 * (opened - start), "compare_ms": 1000 * (done - opened)}
    print(json.dumps({**times, "pairs": len(found), "difference": float(sum(each[0] for each in found))}), flush=True)
