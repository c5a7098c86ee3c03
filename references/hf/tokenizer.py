#!/usr/bin/env python3
"""Cuts a text, or a chat that it renders itself, with HuggingFace Transformers' own tokenizer.

    tokenizer.py --model model.gguf --request request.json --out tokens.json

The request is {"text": ...} or {"messages": [{"role": ..., "content": ...}, ...]}; the answer {"text", "ids", "pieces", "version"}.
A text is cut as the tokenizer does by default, special tokens added; a chat brings its own. The model is a GGUF file or a folder of
HuggingFace. Runs in the environment that setup.sh makes; an error is one line on stderr, status 2.
"""

import argparse
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends it without a traceback, imports included

import cpu_torch

cpu_torch.prepare()
os.environ["TQDM_DISABLE"] = "1"

import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class RequestError(Exception):
    """What cannot be done: one line with the thing and the remedy."""


def load(path: Path) -> PreTrainedTokenizerBase:
    if not path.exists():
        raise RequestError("no such file or folder")
    if path.is_file():
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    if not any(path.glob("tokenizer*")):
        raise RequestError("no tokenizer in the folder (tokenizer.json, tokenizer.model); download the model whole")
    return AutoTokenizer.from_pretrained(path, local_files_only=True)


def pieces(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """Each token's text. Byte-level tokens are decoded one by one; of SentencePiece that would drop the space before a word."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = "" if backend is None else str(json.loads(backend.to_str())["decoder"])
    if "ByteLevel" in decoder:
        return [tokenizer.decode([id], clean_up_tokenization_spaces=False) for id in ids]

    def plain(token: str) -> str:
        byte = BYTE.fullmatch(token)
        return bytes([int(byte[1], 16)]).decode(errors="replace") if byte else token.replace("\u2581", " ")

    return [plain(token) for token in tokenizer.convert_ids_to_tokens(ids)]


def answer(tokenizer: PreTrainedTokenizerBase, request: dict[str, Any]) -> dict[str, Any]:
    is_chat = "messages" in request
    if is_chat and not tokenizer.chat_template:
        raise RequestError("transformers finds no chat template in it; give the prompt as plain text with -p")
    text: str = (
        tokenizer.apply_chat_template(request["messages"], tokenize=False, add_generation_prompt=True)
        if is_chat
        else request["text"]
    )
    ids: list[int] = tokenizer(text, add_special_tokens=not is_chat)["input_ids"]
    return {"text": text, "ids": ids, "pieces": pieces(tokenizer, ids), "version": transformers.__version__}


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"hf: {message}; see tokenizer.py --help\n")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    parser = Parser(description="Cuts a text or a chat with HuggingFace Transformers' own tokenizer")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file or HuggingFace folder")
    parser.add_argument("--request", type=Path, required=True, help='JSON: {"text": ...} or {"messages": [...]}')
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    try:
        request = json.loads(options.request.read_text(encoding="utf-8"))
        options.out.write_text(json.dumps(answer(load(options.model), request)), encoding="utf-8")
    except Exception as error:  # whatever a package throws at a damaged model is the user's to know, in one line
        reason = str(error) if isinstance(error, RequestError) else f"{type(error).__name__}: {error}"
        print(f"hf: {options.model.name}: {' '.join(reason.split())[:400]}", file=sys.stderr)
        sys.exit(2)
