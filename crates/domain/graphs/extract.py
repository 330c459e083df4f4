#!/usr/bin/env python3
"""Makes graphs.txt: graphs that llama.cpp builds for the models of models.txt, with their sizes as expressions.

extract.py MEASURE [NAME ...] > graphs.txt; README.md says what the lines mean and how MEASURE is built."""

import argparse
import math
import re
import sys
import tempfile
from pathlib import Path

import dump
import models
from dump import BLOCK, cache, reference
from fit import Fit

# Three runs that differ in every size: sequences, outputs; models.txt may have other tokens.
SEQUENCES, OUTPUTS = (2, 4, 6), (34, 46, 58)
VARIANTS = {
    "on": dict(flash_attn="on"),
    "on+k": dict(flash_attn="on", ctk="q8_0"),
    "on+kv": dict(flash_attn="on", ctk="q8_0", ctv="q8_0"),
    "off": dict(flash_attn="off"),
    "off+k": dict(flash_attn="off", ctk="q8_0"),
}
# Of one model for all sizes.
FEWER_VARIANTS = ("on", "on+kv", "off")

# Values of a model that sizes may be made of. Where one model stands for all, any number may be, but those that have a
# letter of their own.
NAMED = {
    "ssm.state_size", "ssm.inner_size", "ssm.group_count", "ssm.time_step_rank", "wkv.head_size",
    "attention.key_length", "attention.value_length", "rope.dimension_count", "attention.kv_lora_rank",
    "attention.key_length_mla", "attention.value_length_mla", "attention.indexer.head_count",
    "attention.indexer.key_length", "embedding_length_per_layer_input", "altup.num_inputs",
}
LETTERED = {
    "block_count", "context_length", "embedding_length", "vocab_size", "expert_count", "expert_used_count",
    "attention.sliding_window", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
}

# So many first layers differ in what no file says: `n_layer_sparsity` in src/models/gemma3n.cpp.
FIRST = {"gemma3n": 10}

# Bytes of an element.
BYTES = {"f32": 4, "f16": 2, "bf16": 2, "i32": 4, "i64": 8}
# Operations that may write where their source is: ggml_op_can_inplace (ggml/src/ggml-alloc.c), and unary ones by name.
IN_PLACE = set(
    "FILL SCALE DIAG_MASK_ZERO DIAG_MASK_INF ADD ADD_ID ADD1 SUB MUL DIV SQR SQRT LOG UNARY ROPE ROPE_BACK SILU_BACK"
    " RMS_NORM RMS_NORM_BACK CLAMP SOFT_MAX SOFT_MAX_BACK ABS SGN NEG STEP TANH ELU RELU SIGMOID GELU GELU_QUICK SILU"
    " HARDSWISH HARDSIGMOID EXP GELU_ERF XIELU FLOOR CEIL ROUND TRUNC SOFTPLUS EXPM1".split()
)
# Others whose result is as large as what they are made of.
ALIKE = {"CONT", "FLASH_ATTN_EXT", "RESHAPE", "PERMUTE", "TRANSPOSE", "NORM", "L2_NORM", "GROUP_NORM", "CUMSUM", "TRI"}
WORDS = {
    "VIEW": "v", "RESHAPE": "v", "PERMUTE": "v", "TRANSPOSE": "v", "FLASH_ATTN_EXT": "fa", "MUL_MAT": "mm",
    "MUL_MAT_ID": "mi", "ROPE": "rope", "GET_ROWS": "get", "SET_ROWS": "set",
}


def at(value, layer):
    return value[layer] if isinstance(value, list) else value


class Measured:
    """One model in one run."""

    def __init__(self, alike, number, folder):
        model = alike.models[number if len(alike.models) > 1 else 0]
        self.model = model
        self.path = folder / f"{number}.gguf"
        models.write(model, self.path)
        self.layers = model.get("block_count") - model.get("nextn_predict_layers")
        self.prefix = {"t5": "dec.blk.", "t5encoder": "enc.blk."}.get(model.architecture, "blk.")
        self.tensors = {name: sizes for name, _, sizes in model.tensors}
        self.tokens = alike.tokens[number]
        sequences = 1 if model.architecture == "t5" else SEQUENCES[number]
        cells = 256 * alike.cells[number]
        self.settings = dict(
            ctx=cells * sequences, ubatch=self.tokens, batch=2048, n_seq_max=sequences,
            n_outputs_max=OUTPUTS[number], kv_unified=model.architecture == "t5", ngl=-1, n_devices=1,
        )
        self.symbols = dict(
            T=self.tokens, E=model.get("embedding_length"), V=model.get("vocab_size"), C=cells, A=cells * sequences,
            O=OUTPUTS[number], Q=sequences, P=self.tokens // sequences,
        )
        self.add_symbols(alike, number)

    def add_symbols(self, alike, number):
        model, symbols = self.model, self.symbols
        window = model.get("attention.sliding_window") or (alike.windows[number] if alike.windows else 0)
        if isinstance(window, int) and window:
            cells = min(symbols["C"], models.padded(window + symbols["T"], 256))
            symbols.update(W=cells, B=cells * symbols["Q"])
        used = model.get("expert_used_count")
        if used:
            symbols.update(U=max(used) if isinstance(used, list) else used, X=model.get("expert_count"))
        if model.architecture == "t5":
            symbols["N"] = model.get("context_length")
        if model.architecture == "rwkv7":
            symbols["HW"] = model.get("embedding_length") // 64
        if model.get("embedding_length_per_layer_input"):
            symbols["L"] = self.layers
        for key, value in model.values.items():
            key = key.removeprefix(model.architecture + ".")
            is_number = isinstance(value, int) and not isinstance(value, bool)
            is_one_for_all = len(alike.models) == 1
            if is_number and (key not in LETTERED and value > 1 if is_one_for_all else key in NAMED):
                symbols.setdefault(f"[{key}]", value)
        rows = [self.of_layer(layer).get("VR", 0) for layer in range(self.layers)]
        if max(rows, default=0):
            symbols["VM"] = max(rows)

    def of_layer(self, layer):
        get = self.model.get
        heads = at(get("attention.head_count"), layer)
        groups = at(get("attention.head_count_kv", get("attention.head_count")), layer)
        windowed = get("attention.sliding_window_pattern")
        size = get("attention.key_length") or (get("embedding_length") // heads if heads else 0)
        is_windowed = isinstance(windowed, list) and layer < len(windowed) and windowed[layer]
        if is_windowed:
            size = get("attention.key_length_swa") or size
        symbols = dict(H=heads, G=groups)
        if not get("attention.kv_lora_rank"):
            symbols["D"] = size
        # Latent attention has no values of its own.
        value = size if get("attention.kv_lora_rank") else get("attention.value_length") or size
        if is_windowed:
            value = get("attention.value_length_swa") or value
        symbols["KR"] = size * groups
        symbols["VR"] = value * groups
        return {name: value for name, value in symbols.items() if value}

    def weights(self, layer):
        start = f"{self.prefix}{layer}."
        names = {name[len(start) :].replace(".weight", "") for name in self.tensors if name.startswith(start)}
        return tuple(sorted(names))


class Extraction:
    """The graphs of models that differ in size only, divided into what comes before the layers (-1), each layer, and
    what comes after them."""

    def __init__(self, program, measured, variant):
        self.measured = measured
        self.is_one = len({id(it.model) for it in measured}) == 1
        self.layers = measured[0].layers
        self.dumps = [dump.measure(program, it.path, **it.settings, **variant) for it in measured]
        self.base = self.dumps[0]
        operations = [[node.op for node in it.order] for it in self.dumps]
        if any(own != operations[0] for own in operations):
            raise RuntimeError(f"the graphs differ in more than sizes: {[len(own) for own in operations]} operations")
        self.positions = {node.id: number for number, node in enumerate(self.base.order)}
        self.segments = self.divided()
        self.fits, self.numbers, self.texts, self.unknown = {}, {}, {}, 0
        self.keepers = {
            segment
            for segment, it in zip(self.segments, self.base.order)
            for kind, name in map(reference, it.sources)
            if kind == "W" and cache(name) and cache(name)[1] == segment
        }
        self.kept = {}
        for it in self.base.kept:
            self.kept.setdefault(it.after, []).append(it)

    def divided(self):
        layer_of, after = [], None
        for number, node in enumerate(self.base.order):
            own, is_after = self.layer_of(node, number, layer_of)
            layer_of.append(own)
            if after is None and own == self.layers - 1 and is_after:
                after = number
        # The norm before the output is no layer's.
        while after and self.is_unnumbered_norm(self.base.order[after - 1]):
            after -= 1
        segments, latest = [], -1
        for number, own in enumerate(layer_of):
            latest = max(latest, own)
            segments.append(self.layers if after is not None and number >= after else latest)
        return segments

    @staticmethod
    def is_unnumbered_norm(node):
        return node.op in ("RMS_NORM", "NORM") and not re.search(r"-\d+$", node.name)

    def layer_of(self, node, number, layer_of):
        """The last layer that a node has to do with, and whether it reads a weight that is no layer's."""
        named = re.search(r"-(\d+)(?: \(.*\))*$", node.name)
        layer = int(named.group(1)) if named and not node.name.startswith("node_") else -1
        reads_other = False
        for source in node.sources + ([node.view] if node.view else []):
            kind, value = reference(source)
            if kind == "N" and value in self.positions and self.positions[value] < number:
                layer = max(layer, layer_of[self.positions[value]])
            elif kind == "W":
                block, kept = BLOCK.match(value), cache(value)
                if block:
                    layer = max(layer, int(block.group(1)))
                elif kept:
                    layer = max(layer, kept[1]) if kept[1] < self.layers else layer
                elif layer == self.layers - 1 and number > 0 and not value.startswith("rope_"):
                    reads_other = True
        return layer, reads_other

    def fit(self, layer):
        symbols = self.symbols(layer)
        key = repr(symbols)
        if key not in self.fits:
            self.fits[key] = Fit(symbols, self.is_one)
        return self.fits[key]

    def symbols(self, layer):
        first, is_layer = self.measured[0], 0 <= layer < self.layers
        names = [name for name in first.symbols if not (name == "VM" and is_layer)]
        symbols = [(name, [it.symbols[name] for it in self.measured]) for name in names]
        if is_layer:
            own = [it.of_layer(layer) for it in self.measured]
            symbols += [(name, [it[name] for it in own]) for name in own[0]]
        start = f"{first.prefix}{layer}."
        for name, sizes in first.tensors.items():
            if is_layer and name.startswith(start):
                short = name[len(start) :]
            elif BLOCK.match(name) or is_layer and name != "token_embd.weight":
                continue
            else:
                short = "/" + name
            for number in range(len(sizes)):
                values = [it.tensors[name][number] for it in self.measured]
                symbols.append((f"{short.replace('.weight', '')}:{number}", values))
        return symbols

    def inputs(self):
        fit, lines = self.fit(-1), []
        for number, (name, _) in enumerate(self.base.inputs):
            size = "rot" if re.search(r"_rot(_2)?$", name) else fit.text([it.inputs[number][1] for it in self.dumps])
            self.unknown += size[0] == "?"
            lines.append(f"in {name} {size}")
        return lines

    def is_leaf(self, source):
        kind, value = reference(source)
        return kind == "L" and value in self.base.leaves

    def lines(self):
        """By segment."""
        return {segment: self.segment(segment) for segment in sorted(set(self.segments))}

    def segment(self, segment):
        order = self.base.order
        members = [number for number, own in enumerate(self.segments) if own == segment]
        numbers, count = {}, 0
        for number in members:
            count += sum(self.is_leaf(source) for source in order[number].sources)
            numbers[number] = count
            count += 1 + len(self.kept.get(order[number].id, []))
        self.numbers[segment] = (numbers, count)
        self.texts = {}
        lines = []
        for number in members:
            lines += self.node(segment, number, len(lines))
            node = order[number]
            for it in self.kept.get(node.id, []):
                word = "keep" if node.op == "ADD" else "topk"
                lines.append(f"{word} 0 - " + " ".join(self.source(source, segment) for source in it.sources))
        return lines

    def source(self, text, segment):
        kind, value = reference(text)
        if kind == "L":
            return "#" + value
        if kind == "W":
            return self.outside(value, segment)
        number = self.positions.get(value)
        if number is None:
            return f"?{value}"
        other = self.segments[number]
        numbers, count = self.numbers[other]
        if other == segment:
            return f".{numbers[number]}"
        if other == -1 and segment > 0:
            return f"@{numbers[number]}"
        if other == segment - 1:
            return f"^{count - numbers[number]}"
        return f"%{numbers[number]}" if other == 0 else f"{segment - other}^{count - numbers[number]}"

    def outside(self, name, segment):
        block, kept = BLOCK.match(name), cache(name)
        if block:
            is_own = int(block.group(1)) == segment or segment >= self.layers
            return ("w:" if is_own else "x:") + block.group(2).replace(".weight", "")
        if kept and kept[1] == segment:
            return "c:" + kept[0]
        if kept:
            # One of the last two that are kept: one is windowed.
            if kept[1] not in sorted(self.keepers)[-2:]:
                raise RuntimeError(f"layer {segment} reads what layer {kept[1]} keeps")
            return "C:" + kept[0]
        return "g:" + name.replace(".weight", "")

    def node(self, segment, number, count):
        """The lines of an operation: one, after those of leaves that it reads."""
        fit, lines, sources = self.fit(segment), [], []
        own = [it.order[number] for it in self.dumps]
        node = own[0]
        for place, source in enumerate(node.sources):
            if self.is_leaf(source):
                sources.append(f".{count + len(lines)}")
                sizes = [it.leaves[reference(other.sources[place])[1]] for it, other in zip(self.dumps, own)]
                lines.append(f"leaf {fit.text(sizes)} -")
            else:
                sources.append(self.source(source, segment))
        word = WORDS.get(node.op, "op")
        view = node.view and self.source(node.view, segment)
        is_of_cache = view is not None and view[:2] in ("c:", "C:")
        if is_of_cache:
            size = self.cache_size(segment, own, view[2:], fit)
        elif word == "v":
            size = self.as_source(own) or self.view_size(own, fit)
        else:
            size = self.as_source(own) or self.size(own, word, sources, fit)
        if not is_of_cache:
            self.texts[node.id] = size
        rows = "-"
        if word != "v" and any(source[:2] in ("w:", "g:", "x:") for source in sources):
            rows = fit.text([batch(it) for it in own])
        self.unknown += (size[0] == "?") + (rows[0] == "?")
        reusable = self.reusable(node)
        # With one card, backend 1 is the host.
        is_for_host = node.backend == 1 and word not in ("v", "get") and not is_of_cache
        flags = ("o" if node.flags & 2 else "") + ("!" if is_for_host else "")
        words = [word, size, rows, reusable and "=" + reusable, flags, view and "~" + view, *sources]
        return lines + [" ".join(it for it in words if it)]

    def as_source(self, own):
        """The size of what an operation is made of, where its own is the same: one model has many numbers that are equal by
        chance."""
        node = own[0]
        is_joined = node.op.endswith("GLU") or "GLU_" in node.op
        if not self.is_one or not (is_joined and len(node.sources) == 2 or node.op in IN_PLACE or node.op in ALIKE):
            return None
        kind, number = reference(node.sources[0])
        if kind != "N" or number not in self.texts:
            return None
        sources = [it.nodes[reference(other.sources[0])[1]] for it, other in zip(self.dumps, own)]
        is_same = all(other.bytes == source.bytes for other, source in zip(own, sources))
        return self.texts[number] if is_same else None

    def cache_size(self, segment, own, contents, fit):
        """Elements: a part of the rows spans as much as lies between its first and its last."""
        def span(it):
            if it.type == "f16":
                return it.bytes // 2
            return it.bytes // 34 * 32 if it.type == "q8_0" else math.prod(it.sizes)

        sizes = [max(math.prod(it.sizes), span(it)) for it in own]
        text = fit.text(sizes)
        if text[0] == "?":
            sizes = [math.prod(it.sizes) for it in own]
            text = fit.text(sizes)
        if contents not in ("k", "v") or segment < 0:
            return text
        row = "KR" if contents == "k" else "VR"
        rows = [it.of_layer(segment).get(row, 0) for it in self.measured]
        if not all(rows) or any(size % row_size for size, row_size in zip(sizes, rows)):
            return text
        counts = fit.text([size // row_size for size, row_size in zip(sizes, rows)])
        if counts[0] == "?":
            # Transposed values of several sequences are as far apart as those of the widest layer.
            for cells, cells_of_all in ("WB", "CA"):
                whole = [it.symbols[cells_of_all] * it.symbols["VM"] for it in self.measured if cells in it.symbols]
                if whole == sizes:
                    return f"{cells_of_all}*VM"
                spans = [
                    it.symbols[cells_of_all] * it.symbols["VM"] - it.symbols[cells] * (it.symbols["VM"] - row_size)
                    for it, row_size in zip(self.measured, rows)
                    if cells in it.symbols
                ]
                if spans == sizes:
                    return f"{cells_of_all}*VM-{cells}*VM+{cells}*{row}"
        return row if counts == "1" else f"{counts}*{row}"

    def view_size(self, own, fit):
        text = fit.text([it.bytes for it in own])
        if text[0] != "?":
            return text
        # What a part of rows spans is no product: nearly all of what it is a view of.
        kind, value = reference(own[0].view) if own[0].view else ("", 0)
        if kind == "N" and value in self.base.nodes:
            text = fit.text([it.nodes[reference(node.view)[1]].bytes for it, node in zip(self.dumps, own)])
        return text if text[0] != "?" else fit.text([math.prod(it.sizes) * BYTES[it.type] for it in own])

    def size(self, own, word, sources, fit):
        """Of a product with a weight of the layer: by its rows, which not all models have alike."""
        weights = (source for source in own[0].sources if reference(source)[0] == "W")
        weight = next((source for source in weights if BLOCK.match(reference(source)[1])), None)
        if word in ("mm", "mi") and weight and sources[own[0].sources.index(weight)].startswith("w:"):
            name = reference(weight)[1]
            rows = [(it.tensors[name] + [1])[1] for it in self.measured]
            if all(it.bytes % row == 0 for it, row in zip(own, rows)):
                text = fit.text([it.bytes // row for it, row in zip(own, rows)])
                if not re.search(r"[?+\-(]", text):
                    return f"{text}*{BLOCK.match(name).group(2).replace('.weight', '')}:1"
        return fit.text([it.bytes for it in own])

    def reusable(self, node):
        """Sources whose place it may take, by their numbers. Inputs stay: the host fills them."""
        if node.op not in IN_PLACE:
            return ""
        def is_alike(source):
            kind, value = reference(source)
            other = self.base.nodes.get(value) if kind == "N" else None
            return other and (other.type, other.sizes, other.strides) == (node.type, node.sizes, node.strides)

        return "".join(str(place) for place, source in enumerate(node.sources) if is_alike(source))


def batch(node):
    """get_op_batch_size of ggml-cuda.cu."""
    if node.op == "GET_ROWS":
        return 0
    if node.op == "MUL_MAT":
        return node.sizes[1]
    return node.sizes[2] if node.op in ("MUL_MAT_ID", "ROPE") else math.prod(node.sizes[1:])


class Text:
    """An `arch` of graphs.txt: what is alike is written once."""

    def __init__(self):
        self.known, self.body, self.types, self.heads, self.unknown = {}, [], {}, {}, 0

    def add(self, variant, extraction):
        lines = extraction.lines()
        layers, measured = extraction.layers, extraction.measured[0]

        def type_of(layer):
            if not 0 <= layer < layers:
                return "-"
            own = lines.get(layer, [])
            cache = str(int(any(" B*" in line for line in own))) + ("C" if any(" C:" in line for line in own) else "")
            first = FIRST.get(measured.model.architecture, 0)
            cache += f"<{first}" if layer < first else ""
            return self.types.setdefault((cache, measured.weights(layer)), len(self.types))

        seen = {}
        for segment, own in lines.items():
            text = "\n".join(own)
            if text not in self.known:
                self.known[text] = len(self.known)
                self.body.append(f"seg {self.known[text]}\n{text}")
            kind = f"{type_of(segment - 1)}/{type_of(segment)}/{type_of(segment + 1)}" if 0 <= segment < layers else ""
            kind = kind or ("pre" if segment < 0 else "post")
            seen.setdefault((kind, self.known[text]), []).append(segment)
        words, _ = self.heads.setdefault(variant, ([], extraction.inputs()))
        for (kind, number), segments in seen.items():
            word = f"{kind}{'/1' if segments == [1] else ''}:{number}"
            if word not in words:
                words.append(word)
        self.unknown += extraction.unknown

    def lines(self, architecture):
        yield f"arch {architecture}"
        for (cache, weights), number in self.types.items():
            yield f"type {number} {cache} " + " ".join(weights)
        for variant, (words, inputs) in self.heads.items():
            yield f"variant {variant} " + " ".join(words)
            yield from inputs
        yield from self.body


def extract(program, graph):
    text = Text()
    for alike in graph.alike:
        with tempfile.TemporaryDirectory() as folder:
            measured = [Measured(alike, number, Path(folder)) for number in range(3)]
            for variant in VARIANTS if len(alike.models) > 1 else FEWER_VARIANTS:
                try:
                    text.add(variant, Extraction(program, measured, VARIANTS[variant]))
                except RuntimeError as error:
                    # Some architectures know flash attention only, or no quantized cache.
                    if variant == "on":
                        raise
                    print(f"{graph.name}: no {variant}: {error}", file=sys.stderr)
    print(f"{graph.name}: {text.unknown} sizes unknown", file=sys.stderr)
    return "\n".join(text.lines(graph.architecture))


def main():
    parser = argparse.ArgumentParser(description="Print the graphs of models as graphs.txt has them.")
    parser.add_argument("measure", help="the program that build.sh makes")
    parser.add_argument("names", nargs="*", help="graphs of models.txt; all, if none is named")
    parser.add_argument("--models", type=Path, default=models.HERE / "models.txt")
    arguments = parser.parse_args()
    for graph in models.read(arguments.models):
        if not arguments.names or graph.name in arguments.names:
            print(extract(arguments.measure, graph), flush=True)


if __name__ == "__main__":
    main()
