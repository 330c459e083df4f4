#!/usr/bin/env python3
"""Models as graphs are measured on: what `models.txt` lists, written as GGUF files whose weights are a hole.

models.py FOLDER [NAME ...] writes them, all or those that are named; README.md says how `models.txt` is read."""

import argparse
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent

# ggml's types: number, elements of a block, bytes of a block (ggml/src/ggml.c).
TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "IQ4_NL": (20, 32, 18),
    "IQ4_XS": (23, 256, 136),
    "I32": (26, 1, 4),
    "BF16": (30, 1, 2),
    "MXFP4": (39, 32, 17),
}
# Types of values in GGUF.
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


@dataclass
class Model:
    architecture: str
    values: dict = field(default_factory=dict)
    # (name, type, sizes)
    tensors: list = field(default_factory=list)

    def get(self, key, otherwise=0):
        return self.values.get(f"{self.architecture}.{key}", otherwise)


@dataclass
class Alike:
    """Models that differ in nothing but sizes; or one model, which then stands for all."""

    models: list
    # Of a cache, in steps of 256.
    cells: tuple = (16, 23, 29)
    # Of a batch.
    tokens: tuple = (512, 480, 600)
    # Of layers that see only so far, where the file does not say it.
    windows: tuple = ()


@dataclass
class Graph:
    """One `arch` of graphs.txt."""

    name: str
    architecture: str
    alike: list = field(default_factory=list)


def read(path=HERE / "models.txt"):
    graphs = []
    lines = [line for line in Path(path).read_text().splitlines() if line and not line.startswith("#")]
    # Lines up to the next model are read at once: tensors of layers come layer by layer.
    rows = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "graph":
            name, _, architecture = rest.partition(" ")
            graphs.append(Graph(name, architecture or name))
        elif word == "models":
            rows = []
            graphs[-1].alike.append((int(rest), rows))
        else:
            rows.append((word, rest))
    for graph in graphs:
        graph.alike = [expand(graph.architecture, count, rows) for count, rows in graph.alike]
    return graphs


def expand(architecture, count, rows):
    alike = Alike([Model(architecture) for _ in range(count)])
    block = []
    for word, rest in rows:
        if word == "cells":
            alike.cells = tuple(int(number) for number in rest.split())
        elif word == "tokens":
            alike.tokens = tuple(int(number) for number in rest.split())
        elif word == "windows":
            alike.windows = tuple(int(number) for number in rest.split())
        elif word == "=":
            key, _, values = rest.partition(" ")
            for model, value in zip(alike.models, each(values, " | ", count)):
                model.values[key] = json.loads(value)
        else:
            prefix = word.split("*")[0] if "*" in word else None
            if block and prefix != block[0][0]:
                add(alike.models, block)
                block = []
            block.append((prefix, word, rest.split(" ")))
    add(alike.models, block)
    return alike


def each(text, between, count):
    values = text.split(between)
    return values if len(values) == count else values * count


def add(models, block):
    """Tensors of the whole, or, where the names have a `*`, of one layer after the other."""
    if not block:
        return
    layered = block[0][0] is not None
    count = models[0].get("block_count") if layered else 1
    for layer in range(count):
        for _, name, (kind, *sizes) in block:
            if sizes[-1].startswith("@"):
                if layer not in layers(sizes[-1]):
                    continue
                sizes = sizes[:-1]
            for at, model in enumerate(models):
                own = [int(each(size, "/", len(models))[at]) for size in sizes]
                model.tensors.append((name.replace("*", str(layer)), kind, own))


def layers(text):
    """`@0-3,7`: layers 0, 1, 2, 3 and 7."""
    known = set()
    for part in text[1:].split(","):
        first, _, last = part.partition("-")
        known.update(range(int(first), int(last or first) + 1))
    return known


def packed(value):
    def string(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", U32, value)
    if isinstance(value, float):
        return struct.pack("<If", F32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + string(value)
    kind, letter = {bool: (BOOL, "?"), int: (I32, "i"), float: (F32, "f")}[type(value[0])]
    return struct.pack(f"<IIQ{len(value)}{letter}", ARRAY, kind, len(value), *value)


def padded(size, to=32):
    return -(-size // to) * to


def write(model, path):
    def string(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    values = {"general.architecture": model.architecture, **model.values, "tokenizer.ggml.model": "none"}
    body = b"".join(string(key) + packed(value) for key, value in values.items())
    offset = 0
    for name, kind, sizes in model.tensors:
        number, elements, size = TYPES[kind]
        body += string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, number, offset)
        for row in sizes[1:]:
            size *= row
        offset += padded(sizes[0] // elements * size)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(model.tensors), len(values)) + body
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(padded(len(head)) + offset)


def main():
    parser = argparse.ArgumentParser(description="Write the models on which graphs are measured, without weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="graphs of models.txt; all, if none is named")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for graph in read():
        if arguments.names and graph.name not in arguments.names:
            continue
        for number, alike in enumerate(graph.alike):
            for size, model in enumerate(alike.models):
                write(model, arguments.folder / f"{graph.name}-{number}-{size}.gguf")


if __name__ == "__main__":
    main()
