"""Reads a trace with pyarrow alone and recomputes what it says of every record that holds values.

Prints one line of JSON; exits with an AssertionError where a number differs. Written from docs/trace-format.md.
"""

import json
import sys

import numpy as np
import pyarrow as pa


def fmix32(h):
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> np.uint32(13))
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def hash64(values):
    bits, index = values.view(np.uint32), np.arange(values.size, dtype=np.uint32)
    low, high = (int(fmix32(bits ^ fmix32(index ^ np.uint32(seed))).astype(np.uint64).sum()) & 0xFFFFFFFF
                 for seed in (0x13198A2E, 0x03707344))
    return high << 32 | low


def sketch(rows):
    signs = fmix32(np.arange(rows.shape[1], dtype=np.uint32) ^ np.uint32(0x243F6A88))
    flips = np.stack([1 - 2 * ((signs >> np.uint32(j)) & np.uint32(1)).astype(np.int64) for j in range(16)])
    return np.where(np.isfinite(rows), rows, 0).astype(np.float64) @ flips.T.astype(np.float64)


with np.errstate(over="ignore"), pa.memory_map(sys.argv[1]) as source:
    reader = pa.ipc.open_file(source)
    metadata = reader.schema.metadata
    manifest = json.loads(metadata[b"faultline.manifest"])
    table = reader.read_all()
    recomputed = 0
    for record in table.to_pylist():
        if record["values"] is None:
            continue
        recomputed += 1
        values = np.array(record["values"], dtype=np.float32)
        rows = values.reshape(-1, record["shape"][-1])
        finite = values[np.isfinite(values)].astype(np.float64)
        assert record["count"] == values.size
        assert record["nan_count"] == np.isnan(values).sum()
        assert record["inf_count"] == np.isinf(values).sum()
        assert record["zero_count"] == (values == 0).sum()
        assert record["hash"] == hash64(values), record["tap"]
        if finite.size:
            scale = np.abs(finite).max()
            assert record["min"] == finite.min() and record["max"] == finite.max()
            assert record["max_abs"] == scale
            assert np.abs(values[record["max_abs_index"]]) == np.float32(scale)
            # Sums of K terms in f32 lanes: relative error below 2^-24 (K / 64 + 8) per row.
            tolerance = 2.0**-24 * (rows.shape[1] / 64 + 8)
            assert abs(record["mean"] - finite.mean()) <= tolerance * np.abs(finite).mean()
            assert abs(record["rms"] - np.sqrt((finite**2).mean())) <= tolerance * np.sqrt((finite**2).mean())
        else:
            assert np.isnan([record["mean"], record["rms"], record["min"], record["max"]]).all()
        if record["sketch"]:
            expected = sketch(rows)
            allowed = 2.0**-24 * (rows.shape[1] / 64 + 8) * np.abs(np.where(np.isfinite(rows), rows, 0)).sum(axis=1) + 2**-149
            assert (np.abs(np.array(record["sketch"]).reshape(-1, 16) - expected) <= allowed[:, None]).all(), record["tap"]
    print(json.dumps({"version": metadata[b"faultline.version"].decode(), "records": table.num_rows,
                      "recomputed": recomputed, "steps": manifest["tokens"]}))
