"""Reads Faultline traces (docs/trace-format.md) with pyarrow: whole files, and files that broke off while they were written.

    from faultline_trace import read_trace
    trace = read_trace("run.arrow")
    trace.value(0, "blk.0.q_rope")      # numpy array in the shape of the tap
    trace.table.to_pandas()             # everything, as a data frame

The file is mapped, not read: values come from it when they are asked for. faultline_trace_writer.py writes traces.
"""

import json
import math
import os
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

FORMAT_VERSION = "1"
VERSION_KEY = b"faultline.version"
MANIFEST_KEY = b"faultline.manifest"
MAGIC = b"ARROW1"
# A file of Arrow's begins with its magic, padded to this; what follows is a stream.
MAGIC_BYTES = 8
SKETCH_SIZE = 16


def _list(item):
    return pa.list_(pa.field("item", item, nullable=False))


_NAME = pa.dictionary(pa.int32(), pa.utf8())
COLUMNS = {
    **{"seq": pa.uint32(), "step": pa.uint32(), "pos_start": pa.uint32()},
    **{"tap": _NAME, "op": _NAME, "dtype": _NAME, "dims": _NAME},
    **{"layer": pa.int32(), "shape": _list(pa.uint32()), "inputs": _list(pa.utf8()), "weights": _list(pa.utf8())},
    **{"count": pa.uint32(), "nan_count": pa.uint32(), "inf_count": pa.uint32(), "zero_count": pa.uint32()},
    **{"min": pa.float32(), "max": pa.float32(), "max_abs": pa.float32(), "max_abs_index": pa.uint32()},
    **{"mean": pa.float64(), "rms": pa.float64(), "row_rms": _list(pa.float32()), "sketch": _list(pa.float32())},
    **{"hash": pa.uint64(), "elapsed_us": pa.float64(), "values": _list(pa.float32())},
}
NULLABLE = ("layer", "elapsed_us", "values")
STATISTICS = ("count", "nan_count", "inf_count", "zero_count", "min", "max", "max_abs", "max_abs_index", "mean", "rms")
ARRAYS = ("row_rms", "sketch", "values")
SCHEMA = pa.schema([pa.field(name, kind, nullable=name in NULLABLE) for name, kind in COLUMNS.items()])


@dataclass(frozen=True, eq=False)
class Record:
    """The output of one op in one step. Arrays are read-only views of the file."""

    seq: int
    step: int
    pos_start: int
    """Position of the first row's token in the sequence."""
    tap: str
    op: str
    dtype: str
    """What the engine computed and stored in; `values` are float32 always."""
    dims: str
    """Names of the axes, slowest first: "token (head head_dim)"."""
    layer: int | None
    shape: tuple[int, ...]
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    statistics: dict
    """count, nan_count, inf_count, zero_count; min, max, max_abs, max_abs_index, mean, rms over finite elements (NaN: none, or not known)."""
    hash: int
    """64 bits; 0 where the values were never seen, which is equal to nothing."""
    elapsed_us: float | None
    _batch: pa.RecordBatch
    _row: int

    @property
    def values(self):
        """float32 array of `shape`, or None where values were not captured."""
        return self._array("values", self.shape)

    @property
    def row_rms(self):
        """float32 array of `shape[:-1]`, one a row ((0,) for an empty tensor). NaN where a row has no finite element, or nothing is known."""
        return self._array("row_rms", self.shape[:-1] if 0 not in self.shape else (0,))

    @property
    def sketch(self):
        """float32 array of `shape[:-1] + (16,)`, or None at capture level stats."""
        sketch = self._array("sketch", (-1,))
        return sketch.reshape(*self.shape[:-1], SKETCH_SIZE) if sketch.size else None

    def _array(self, column, shape):
        numbers = self._batch.column(column)[self._row].values
        return None if numbers is None else numbers.to_numpy(zero_copy_only=True).reshape(shape)


class Trace:
    """A trace: `path`, `manifest` (dict), `partial` (True: the file was never finished), `records` in order, `table`."""

    def __init__(self, path, manifest, partial, schema, batches):
        self.path, self.manifest, self.partial = path, manifest, partial
        self.table = pa.Table.from_batches(batches, schema).unify_dictionaries()
        """pyarrow.Table with the columns of docs/trace-format.md, over the file's own memory."""
        self.records = [record for batch in batches for record in _records(batch)]
        self._places = {(record.step, record.tap): record for record in self.records}

    def record(self, step, tap):
        """The record of a tap in a step. ValueError where there is none."""
        found = self._places.get((step, tap))
        if found is None:
            steps = sorted({record.step for record in self.records if record.tap == tap})
            where = f"it is in steps {steps[0]} to {steps[-1]}" if steps else "trace.table['tap'] has the names"
            raise ValueError(f"{self.path}: no record of {tap} in step {step} among {len(self.records)}; {where}")
        return found

    def value(self, step, tap):
        """Values of a tap in a step: float32 array of the record's shape. ValueError where they were not captured."""
        values = self.record(step, tap).values
        if values is None:
            raise ValueError(f"{self.path}: {tap} of step {step} has no values; trace with --capture full")
        return values


def read_trace(path):
    """Opens a trace file, whole or partial (up to its last whole batch). Bad files raise ValueError in one line."""
    # Opening a pipe would wait for its writer.
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file; make a trace with: faultline trace MODEL -p TEXT -o trace.arrow")
    size = os.path.getsize(path)
    try:
        source = pa.memory_map(str(path)) if size > 0 else pa.BufferReader(b"")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({_line(error)}); choose another") from error
    if source.read_at(min(size, len(MAGIC)), 0) != MAGIC:
        raise ValueError(f"{path}: not a trace (an Arrow file starts with ARROW1); traces are made by faultline trace")
    partial = size < 2 * len(MAGIC) or source.read_at(len(MAGIC), size - len(MAGIC)) != MAGIC
    broke_off = f"broke off before its first batch ({size} bytes)"
    try:
        schema, batches = _stream(source) if partial else _file(source)
        manifest = _manifest(path, schema)
        _check(path, batches, partial)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: {broke_off if partial else f'damaged ({_line(error)})'}; make the trace again") from error
    if not batches:
        raise ValueError(f"{path}: {broke_off if partial else 'holds no record'}; make the trace again")
    return Trace(str(path), manifest, partial, schema, batches)


def _file(source):
    reader = pa.ipc.open_file(source)
    return reader.schema, [reader.get_batch(index) for index in range(reader.num_record_batches)]


def _stream(source):
    """A file without its end is a stream after its magic; where it broke off, reading ends."""
    source.seek(MAGIC_BYTES)
    reader, batches = pa.ipc.open_stream(source), []
    try:
        for batch in reader:
            batch.validate(full=True)
            batches.append(batch)
    except (pa.ArrowException, OSError):
        pass
    return reader.schema, batches


def _manifest(path, schema):
    metadata = schema.metadata or {}
    version = metadata.get(VERSION_KEY)
    if version is None:
        raise ValueError(f"{path}: an Arrow file, but not a trace (no faultline.version in its metadata)")
    if version.decode(errors="replace") != FORMAT_VERSION:
        version = version.decode(errors="replace")
        raise ValueError(f"{path}: format version {version!r}, this reader reads {FORMAT_VERSION}; make the trace again")
    for name, kind in COLUMNS.items():
        if schema.names.count(name) != 1:
            problem = "lacks the column" if name not in schema.names else "has more than one column"
            raise ValueError(f"{path}: {problem} {name}; see docs/trace-format.md")
        found = schema.field(name).type
        if _plain(found) != _plain(kind):
            raise ValueError(f"{path}: column {name} is {found}, not {kind}; see docs/trace-format.md")
    try:
        manifest = json.loads(metadata.get(MANIFEST_KEY, b""))
    except ValueError as error:
        raise ValueError(f"{path}: faultline.manifest is not JSON; see docs/trace-format.md") from error
    if not isinstance(manifest, dict):
        raise ValueError(f"{path}: faultline.manifest is a {type(manifest).__name__}, not an object; see docs/trace-format.md")
    return manifest


def _plain(kind):
    """A column's type without what only its writer cares for: how names are indexed, how items are called."""
    if pa.types.is_list(kind):
        return "list", kind.value_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check(path, batches, partial):
    """Arrow believes lengths and offsets in a file; a record's lists are as long as its shape says."""
    for number, batch in enumerate(batches):
        if not partial:
            batch.validate(full=True)
        for name in COLUMNS:
            if batch.column(name).null_count > 0 and name not in NULLABLE:
                raise ValueError(f"{path}: batch {number} is damaged (nulls in column {name}); make the trace again")
        lengths = [pc.list_value_length(batch.column(name)).to_pylist() for name in ARRAYS]
        facts = (batch.column(name).to_pylist() for name in ("tap", "step", "shape", "count"))
        for tap, step, shape, count, row_rms, sketch, values in zip(*facts, *lengths, strict=True):
            rows = 0 if shape[-1:] == [0] else math.prod(shape[:-1])
            expected = {"count": (count, {math.prod(shape)}), "row_rms": (row_rms, {rows})}
            expected |= {"sketch": (sketch, {0, SKETCH_SIZE * rows}), "values": (values, {None, count})}
            for name, (found, allowed) in expected.items():
                if found not in allowed:
                    one = f"{name} of {tap} in step {step} is {found} for the shape {shape}"
                    raise ValueError(f"{path}: batch {number} is damaged ({one}); make the trace again")


def _records(batch):
    facts = batch.drop_columns(list(ARRAYS)).to_pylist()
    for row, fact in enumerate(facts):
        statistics = {name: fact.pop(name) for name in STATISTICS}
        lists = {name: tuple(fact.pop(name)) for name in ("shape", "inputs", "weights")}
        yield Record(**fact, **lists, statistics=statistics, _batch=batch, _row=row)


def _line(error):
    return str(error).split("\n")[0]
