"""Serves test/references/python.test.ts: a request a line of JSON on stdin, an answer a line on stdout. One process for all cases."""

import json
import struct
import sys

import numpy as np
import pyarrow as pa

sys.path.insert(0, sys.argv[1])
from faultline_trace import STATISTICS, read_trace  # noqa: E402
from faultline_trace_writer import TraceWriter  # noqa: E402


def array(numbers):
    return None if numbers is None else {"shape": numbers.shape, "bytes": numbers.tobytes().hex(), "dtype": str(numbers.dtype)}


def read(path):
    trace = read_trace(path)
    facts = ("seq", "step", "pos_start", "tap", "op", "dtype", "dims", "layer", "shape", "inputs", "weights", "elapsed_us")
    records = [
        {name: getattr(record, name) for name in facts}
        | {"statistics": struct.pack("<10d", *(record.statistics[name] for name in STATISTICS)).hex(), "hash": str(record.hash)}
        | {name: array(getattr(record, name)) for name in ("row_rms", "sketch", "values")}
        for record in trace.records
    ]
    return {"manifest": trace.manifest, "partial": trace.partial, "rows": trace.table.num_rows, "records": records}


def rewrite(source, target, capture="full", batches=False, stop=False):
    """The values of a trace, written again. `batches`: one for each record; `stop`: those, and an error after the last."""
    trace = read_trace(source)
    facts = {name: trace.manifest[name] for name in ("producer", "model", "prompt", "tokens", "pieces")}
    try:
        with TraceWriter(target, capture=capture, **facts) as writer:
            for record in trace.records:
                names = ("step", "pos_start", "tap", "op", "dims", "values", "dtype", "inputs", "weights", "elapsed_us")
                writer.write(**{name: getattr(record, name) for name in names})
                if batches or stop:
                    writer.flush()
            if stop:
                raise InterruptedError
    except InterruptedError:
        pass


def dictionaries(path):
    """How the stream in a file announces names: dictionaries sent whole, extended, replaced."""
    with open(path, "rb") as file:
        file.seek(8)
        reader = pa.ipc.open_stream(file)
        list(reader)
    stats = reader.stats
    extended, replaced = stats.num_dictionary_deltas, stats.num_replaced_dictionaries
    whole = stats.num_dictionary_batches - extended - replaced
    return {"batches": stats.num_record_batches, "whole": whole, "extended": extended, "replaced": replaced}


def write(path, writer, records=(), tokens=()):
    """A trace from scratch; values of records are lists of numbers, `of` what their array holds."""
    with TraceWriter(path, **writer) as trace:
        for record in records:
            values = np.array(record.pop("values"), dtype=record.pop("of", "f4"))
            trace.write(**record, values=values)
        trace.tokens.extend(tokens)


HANDLERS = {"read": read, "rewrite": rewrite, "dictionaries": dictionaries, "write": write}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"result": HANDLERS[request.pop("do")](**request)}
    except ValueError as error:
        answer = {"refused": str(error)}
    except Exception as error:  # the test fails with it
        answer = {"failed": repr(error)}
    print(json.dumps(answer), flush=True)
