"""A foreign engine: runs a llama GGUF in numpy, f32, and dumps every tap of every step as docs/writing-a-dumper.md asks.

    engine.py model.gguf --tokens 256,1057,261 --steps 2 --out folder [--follow 261,725] [--bug NAME[@LAYER]]
    engine.py --list

Several --bug write a folder each, OUT/NAME; `--bug all` every bug, and OUT/clean. --list prints bugs.py's table as JSON.
"""

import argparse
import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from bugs import BUGS
from llama import Array, Llama, ModelError

CLEAN = "clean"


class Dump:
    """A dump folder that is being written; dump.json comes last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[dict[str, Any]] = []
        self.tensors: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dump.json").unlink(missing_ok=True)

    def tap(self, name: str, values: Array) -> None:
        file = f"{len(self.tensors):06d}.npy"
        np.save(self.folder / file, np.ascontiguousarray(values, dtype="<f4"))
        self.tensors.append({"step": len(self.steps) - 1, "name": name, "file": file})

    def finish(self, model: str, bug: str) -> None:
        producer = {"name": "foreign", "version": "1", "dtype": "f32", "settings": {"numpy": np.__version__, "bug": bug}}
        head = {"faultline_dump": 1, "producer": producer, "names": "canonical", "model": {"file": model}}
        (self.folder / "dump.json").write_text(json.dumps(head | {"steps": self.steps, "tensors": self.tensors}))


def run(model: Llama, prompt: list[int], steps: int, follow: list[int], dump: Dump) -> None:
    """A prefill and `steps` decode steps, each fed the next token of `follow`, or the likeliest where that has ended."""
    tokens, start = prompt, 0
    for step in range(steps + 1):
        dump.steps.append({"pos_start": start, "tokens": tokens})
        logits = model.forward(tokens, start, dump.tap)
        start += len(tokens)
        tokens = follow[step : step + 1] or [int(np.argmax(logits[-1]))]


def planted(model: Llama, bug: str) -> Llama:
    """The model with the bug NAME[@LAYER], or as it is for `clean`. Weights are shared, caches are not."""
    wrong = copy.copy(model)
    wrong.blocks = [copy.copy(block) for block in model.blocks]
    for block in wrong.blocks:
        block.clear(model.capacity)
    if bug == CLEAN:
        return wrong
    name, _, layer = bug.partition("@")
    row = BUGS[name]
    if layer and (row.layer is None or layer not in map(str, range(len(wrong.blocks)))):
        raise ModelError(f"{bug}: there is no such layer for it; layers are 0 to {len(wrong.blocks) - 1}, {row.tap} is its op")
    row.plant(wrong if row.layer is None else wrong.blocks[int(layer or row.layer)])
    return wrong


def table() -> list[dict[str, Any]]:
    """bugs.py's table without its code; taps with their layers."""
    rows = [{"bug": name} | {key: value for key, value in vars(row).items() if key != "plant"} for name, row in BUGS.items()]
    return [row | {"tap": row["tap"] if row["layer"] is None else f"blk.{row['layer']}.{row['tap']}"} for row in rows]


def parse_arguments() -> argparse.Namespace:
    def ids(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description="Runs a llama GGUF in numpy and dumps every tap")
    parser.add_argument("model", type=Path, nargs="?", help="GGUF file")
    parser.add_argument("--tokens", type=ids, help="ids of the prompt: 1,2,3")
    parser.add_argument("--steps", type=int, default=0, help="decode steps")
    parser.add_argument("--follow", type=ids, default=[], help="tokens of the decode steps, instead of the likeliest")
    parser.add_argument("--out", type=Path, help="folder to write")
    parser.add_argument("--bug", action="append", help="NAME[@LAYER] of bugs.py, or all")
    parser.add_argument("--list", action="store_true", help="print the table of bugs as JSON")
    arguments = parser.parse_args()
    arguments.bug = [CLEAN, *BUGS] if arguments.bug == ["all"] else arguments.bug or [CLEAN]
    unknown = [bug for bug in arguments.bug if bug != CLEAN and bug.partition("@")[0] not in BUGS]
    if unknown:
        parser.error(f"no bug is called {unknown[0]}; --list shows them")
    if not arguments.list and None in (arguments.model, arguments.tokens, arguments.out):
        parser.error("a model, --tokens and --out are needed")
    return arguments


def main(arguments: argparse.Namespace) -> None:
    if arguments.list:
        print(json.dumps(table(), indent=1))
        return
    model = Llama(arguments.model, len(arguments.tokens) + arguments.steps + 1)
    for bug in arguments.bug:
        dump = Dump(arguments.out / bug if len(arguments.bug) > 1 else arguments.out)
        run(planted(model, bug), arguments.tokens, arguments.steps, arguments.follow, dump)
        dump.finish(arguments.model.name, bug)


if __name__ == "__main__":
    options = parse_arguments()
    try:
        main(options)
    except (ModelError, OSError) as error:
        sys.exit(f"foreign: {options.model}: {error}")
