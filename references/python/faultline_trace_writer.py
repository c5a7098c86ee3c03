"""Writes Faultline traces (docs/trace-format.md) from any engine in Python: numpy arrays in, a trace file out.

    from faultline_trace_writer import TraceWriter
    with TraceWriter("mine.arrow", producer={"name": "my-engine"}, capture="full") as trace:
        trace.tokens.append([1, 15043])
        trace.write(step=0, pos_start=0, tap="embed", op="embed", dims="token embd", values=x)

Statistics, hash and sketch are the same bits that Faultline computes on the CPU: sums are f64, one term after the other.
"""

import json
import operator
import os
import re
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa

from faultline_trace import COLUMNS, FORMAT_VERSION, MAGIC, MAGIC_BYTES, MANIFEST_KEY, SCHEMA, SKETCH_SIZE, VERSION_KEY

SIGN_SEED, LOW_SEED, HIGH_SEED = 0x243F6A88, 0x13198A2E, 0x03707344
CAPTURE_LEVELS = ("stats", "sketch", "full")
NAMES = ("tap", "op", "dtype", "dims")
# A batch is written when its records hold this much.
BATCH_BYTES = 1 << 20
UINT32_MAX = 2**32 - 1
SCALAR = (str, int, float, type(None))
# Parts of the manifest: what is text in each, and where any scalar may stand.
MANIFEST_FACTS = [
    ("producer", ("name", "version", "device", "dtype"), "settings"),
    ("model", ("file", "architecture"), "hyperParameters"),
]


def fmix32(h):
    """murmur3's 32-bit finaliser of a uint32 array, modulo 2^32."""
    with np.errstate(over="ignore"):
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def hash_of(values):
    """64-bit hash of a float32 array: sums of integers over the bits and flat indices of its elements, NaN included."""
    bits = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    index = np.arange(bits.size, dtype=np.uint32)
    low, high = (
        int(fmix32(bits ^ fmix32(index ^ np.uint32(seed))).sum(dtype=np.uint64)) & UINT32_MAX
        for seed in (LOW_SEED, HIGH_SEED)
    )
    return high << 32 | low


def sketch_of(rows):
    """Sketch of float32 rows (R x C): R x 16 float32, each column of it a fixed random +-1 projection. Non-finite elements are left out."""
    signs = fmix32(np.arange(rows.shape[1], dtype=np.uint32) ^ np.uint32(SIGN_SEED))
    finite = np.where(np.isfinite(rows), rows, 0).astype(np.float64)
    flips = ((signs >> np.uint32(j)) & np.uint32(1) != 0 for j in range(SKETCH_SIZE))
    with np.errstate(over="ignore"):  # a sum beyond float32 is infinite
        return np.stack([_sum(np.where(flip, -finite, finite)) for flip in flips], axis=1).astype(np.float32)


def statistics_of(rows):
    """Statistics (dict: the columns from count to rms) and RMS of each row of float32 rows (R x C), over finite elements."""
    finite = np.isfinite(rows)
    exact = np.where(finite, rows, 0).astype(np.float64)
    sums, squares, counts = _sum(exact), _sum(exact * exact), finite.sum(axis=1)
    count, total = int(rows.size), int(counts.sum())
    flat, magnitudes = rows.reshape(-1), np.where(finite, np.abs(rows), -1).reshape(-1)
    # The first of equals, as argmin and argmax give it: of zeros its sign shows which was taken.
    first = {"min": np.where(finite, rows, np.inf), "max": np.where(finite, rows, -np.inf)}
    index = int(magnitudes.argmax()) if total else 0
    statistics = {
        "count": count,
        "nan_count": int(np.isnan(rows).sum()),
        "inf_count": int(np.isinf(rows).sum()),
        "zero_count": int((rows == 0).sum()),
        "min": float(flat[first["min"].argmin()]) if total else np.nan,
        "max": float(flat[first["max"].argmax()]) if total else np.nan,
        "max_abs": float(magnitudes[index]) if total else np.nan,
        "max_abs_index": index,
        "mean": float(_sum(sums)) / total if total else np.nan,
        "rms": float(np.sqrt(_sum(squares) / total)) if total else np.nan,
    }
    row_rms = np.where(counts > 0, np.sqrt(squares / np.maximum(counts, 1)), np.nan)
    return statistics, row_rms.astype(np.float32)


def _sum(terms):
    """Sums over the last axis, one term after the other from 0 on. np.sum adds pairwise: other last bits."""
    if terms.shape[-1] == 0:
        return np.zeros(terms.shape[:-1])
    return np.add.accumulate(terms, axis=-1)[..., -1] + 0.0  # + 0.0: a sum that begins at 0 is never -0


class TraceWriter:
    """
    Writes a trace to `path`; use it with `with`. Until it is whole it is `path + ".partial"`, which an error leaves behind, readable up to
    its last whole batch.

    producer: name, and version, device, dtype (f32, f16, bf16), settings (docs/writing-a-dumper.md says what the audit reads).
    model: file, architecture ("llama"), size, sha256, hyperParameters, quantisation: what is known.
    tokens: ids of each step; may be given here, or appended to `tokens` while the engine runs. pieces: their texts, likewise.
    capture: "full" (values), "sketch" or "stats".
    """

    def __init__(self, path, *, producer, model=None, prompt=None, tokens=(), pieces=None, capture="full"):
        if capture not in CAPTURE_LEVELS:
            raise ValueError(f"capture is {capture!r}; one of {', '.join(CAPTURE_LEVELS)}")
        self.path, self.capture = str(path), capture
        self.tokens = [list(step) for step in tokens]
        self.pieces = None if pieces is None else [list(step) for step in pieces]
        self._facts = {
            "producer": {"name": "", "version": "", "device": "cpu", "dtype": "f32", "settings": {}} | producer,
            "model": {"file": "", "size": None, "sha256": None, "architecture": "llama", "hyperParameters": {}}
            | {"quantisation": None}
            | (model or {}),
            "prompt": prompt,
            "faults": [],
            "created": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        self._check_facts()
        self._names = {column: {} for column in NAMES}
        self._seen, self._pending, self._bytes, self._kept, self._stream = set(), [], 0, 0, None
        self._schema()  # what is no manifest is refused now, not when the engine has run
        self._sink = _opened(self.path + ".partial", self.path)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.finish()
        else:
            self.abandon()

    def write(self, *, step, pos_start, tap, op, dims, values, dtype=None, inputs=(), weights=(), elapsed_us=None):
        """
        Adds the output of one op in one step. values: array of float16, float32 or float64 in the shape that `dims` names, slowest
        axis first ("token (head head_dim)" has two axes); float64 is rounded. pos_start: position of the first row's token. dtype: what the
        engine computed and stored in, the producer's unless said. inputs, weights: taps and GGUF tensors that the op read. elapsed_us:
        microseconds. ValueError for what no trace may hold.
        """
        where, step, pos_start = f"{tap} of step {step}", operator.index(step), operator.index(pos_start)
        values = np.asarray(values)
        axes = re.findall(r"\([^()]+\)|[^\s()]+", dims)
        if values.dtype.kind != "f" or values.dtype.itemsize > 8:
            raise ValueError(f"{where}: values are {values.dtype}; give float16, float32 or float64")
        if values.ndim != len(axes):
            raise ValueError(f"{where}: shape {list(values.shape)} for the {len(axes)} axes of {dims!r}; reshape the values")
        if max(values.size, step, pos_start) > UINT32_MAX or min(step, pos_start) < 0:
            raise ValueError(f"{where}: {values.size} values from position {pos_start} on; each must lie in 0 to {UINT32_MAX}")
        if (step, tap) in self._seen:
            raise ValueError(f"{where} is written twice; a tap has one record a step")
        with np.errstate(over="ignore"):
            rounded = np.array(values, dtype=np.float32, order="C")  # a copy: engines use their buffers again
        if np.isinf(rounded).sum() > np.isinf(values).sum():
            raise ValueError(f"{where}: holds values beyond float32's {np.finfo(np.float32).max}; they would become infinite")
        layer = re.match(r"(?:weight:)?blk\.([0-9]+)\.", tap)
        names = {"tap": tap, "op": op, "dtype": dtype or self._facts["producer"]["dtype"], "dims": dims}
        columns = rounded.shape[-1] if rounded.ndim else 1
        rows = rounded.reshape(-1, columns) if columns else rounded.reshape(0, 1)
        statistics, row_rms = statistics_of(rows)
        sketch = np.zeros(0, np.float32) if self.capture == "stats" else sketch_of(rows).reshape(-1)
        self._pending.append(
            {"seq": len(self._seen), "step": step, "pos_start": pos_start}
            | {column: self._names[column].setdefault(name, len(self._names[column])) for column, name in names.items()}
            | {"layer": None if layer is None else int(layer[1]), "shape": list(rounded.shape)}
            | {"inputs": list(inputs), "weights": list(weights)}
            | statistics
            | {"row_rms": row_rms, "sketch": sketch, "hash": hash_of(rounded), "elapsed_us": elapsed_us}
            | {"values": rounded.reshape(-1) if self.capture == "full" else None}
        )
        self._seen.add((step, tap))
        self._bytes += 512 + 4 * (row_rms.size + sketch.size + (rounded.size if self.capture == "full" else 0))
        if self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self):
        """Writes what waits as one batch. Call it at the end of a step, so that a partial file ends with whole steps."""
        if self._pending:
            if self._stream is None:
                self._sink.write(MAGIC.ljust(MAGIC_BYTES, b"\0"))
                # Names are known as they come: later batches extend the dictionaries. The finished file has them whole.
                options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
                self._stream = pa.ipc.new_stream(self._sink, self._schema(), options=options)
            self._stream.write_batch(self._batch())
            self._pending, self._bytes, self._kept = [], 0, len(self._seen)

    def finish(self):
        """Ends the file and gives it its name. Without records, or with steps that have no tokens, ValueError."""
        self.flush()
        last = max((step for step, _ in self._seen), default=-1)
        if last < 0 or last >= len(self.tokens):
            self.abandon()
            reason = f"step {last} was written, but tokens has {len(self.tokens)} steps; append the ids of each step to tokens"
            raise ValueError(f"{self.path}: {'no record was written' if last < 0 else reason}")
        self._stream.close()
        self._sink.close()
        whole, partial = self.path + ".whole", self.path + ".partial"
        try:
            self._rewrite(partial, whole)
            os.replace(whole, self.path)
        except OSError as error:
            if os.path.exists(whole):
                os.remove(whole)
            raise ValueError(f"{self.path}: cannot be written ({error.strerror or error}); its records are in {partial}") from error
        os.remove(partial)

    def abandon(self):
        """Leaves the partial file as it is, up to its last whole batch; removes it where there is none."""
        if not self._sink.closed:
            self._sink.close()
            if self._kept == 0:
                os.remove(self.path + ".partial")

    def _check_facts(self):
        for section, texts, scalars in MANIFEST_FACTS:
            facts = self._facts[section]
            wrong = [name for name in texts if not isinstance(facts[name], str) or (name == "name" and not facts[name])]
            wrong += [f"{scalars}.{name}" for name, fact in facts[scalars].items() if not isinstance(fact, SCALAR)]
            if wrong:
                need = "strings, numbers, booleans or None" if "." in wrong[0] else "a string"
                raise ValueError(f"{self.path}: {section}.{wrong[0]} must be {need}; see docs/python.md")

    def _rewrite(self, partial, whole):
        """The same batches under the final manifest, after complete dictionaries."""
        schema, names = self._schema(), {column: pa.array(list(self._names[column])) for column in NAMES}
        with pa.memory_map(partial) as source, pa.ipc.new_file(whole, schema) as file:
            source.seek(MAGIC_BYTES)
            for batch in pa.ipc.open_stream(source):
                columns = dict(zip(batch.schema.names, batch.columns))
                for name in NAMES:
                    columns[name] = pa.DictionaryArray.from_arrays(columns[name].indices, names[name])
                file.write_batch(pa.RecordBatch.from_arrays(list(columns.values()), schema=schema))

    def _schema(self):
        pieces = self.pieces if self.pieces is not None else [[f"<{token}>" for token in step] for step in self.tokens]
        tokens = [[int(token) for token in step] for step in self.tokens]
        if [len(step) for step in pieces] != [len(step) for step in tokens]:
            raise ValueError(f"{self.path}: pieces and tokens differ in length; give a text for each token, or none")
        manifest = json.dumps(self._facts | {"tokens": tokens, "pieces": pieces}, allow_nan=False)
        return SCHEMA.with_metadata({VERSION_KEY: FORMAT_VERSION, MANIFEST_KEY: manifest})

    def _batch(self):
        columns = {name: [record[name] for record in self._pending] for name in COLUMNS}
        return pa.RecordBatch.from_arrays(
            [self._column(name, kind, columns[name]) for name, kind in COLUMNS.items()], schema=SCHEMA
        )

    def _column(self, name, kind, data):
        if name in NAMES:
            return pa.DictionaryArray.from_arrays(pa.array(data, pa.int32()), pa.array(list(self._names[name])))
        if name not in ("row_rms", "sketch", "values"):
            return pa.array(data, kind)
        parts = [np.zeros(0, np.float32) if part is None else part for part in data]
        offsets = np.cumsum([0, *(part.size for part in parts)], dtype=np.int64).astype(np.int32)
        mask = pa.array([part is None for part in data]) if name == "values" else None
        return pa.ListArray.from_arrays(offsets, np.concatenate(parts), type=kind, mask=mask)


def _opened(place, path):
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(None, "Is a directory")
        return pa.OSFile(place, "wb")
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
