"""What `measure` prints of a graph, read: operations without what the scheduler put between them."""

import re
import subprocess
from dataclasses import dataclass, field

BLOCK = re.compile(r"^(?:enc\.|dec\.)?blk\.(\d+)\.(.*)$")
# PLaMo 2 and Kimi Linear give the states of a layer other names.
CACHE = re.compile(r"(?:cache_([a-z_]+?)_?l|mamba_([a-z0-9_]+)-|(conv_states_all)-)(\d+)")
COPY = re.compile(r"(CUDA\d+|CPU)#.*#\d$")


@dataclass
class Node:
    id: int
    op: str
    name: str
    bytes: int
    backend: int
    flags: int
    type: str
    sizes: list
    strides: list
    view: str | None
    sources: list
    # Of what is only kept alive: the operation before it.
    after: int = 0


@dataclass
class Dump:
    inputs: list = field(default_factory=list)
    order: list = field(default_factory=list)
    # By their number.
    nodes: dict = field(default_factory=dict)
    # Operations that are computed together with others keep the sources of those alive.
    kept: list = field(default_factory=list)
    # Bytes of leaves that are no inputs, by their name.
    leaves: dict = field(default_factory=dict)


def reference(text):
    """`N12:x` is node 12, `L3:x` the leaf x, `W:x` the weight or cache x."""
    kind, _, rest = text.partition(":")
    return ("N", int(kind[1:])) if kind[0] not in "WL" else (kind[0], rest)


def cache(name):
    found = CACHE.match(name)
    return (found[1] or found[2] or found[3], int(found[4])) if found else None


def measure(program, path, **settings):
    words = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in settings.items()]
    result = subprocess.run([program, path, *words], capture_output=True, text=True)
    if result.returncode or "GRAPH\n" not in result.stdout:
        raise RuntimeError("no graph: " + result.stderr[-500:])
    return parse(result.stdout)


def parse(text):
    dump = Dump()
    raw, leaf_names = [], {}
    for line in text.split("GRAPH\n", 1)[1].split("\n"):
        kind, *fields = line.split("\t")
        if kind not in ("LEAF", "NODE"):
            continue
        values = dict(entry.split("=", 1) for entry in fields[1:] if "=" in entry)
        if kind == "NODE":
            raw.append(node(int(fields[0]), values))
        elif int(values["flags"]) & 1:
            name = free_name(values["name"], [known for known, _ in dump.inputs])
            leaf_names["L" + fields[0]] = name
            dump.inputs.append((name, int(values["nbytes"])))
        elif "leaf" in values["name"]:
            dump.leaves[values["name"]] = int(values["nbytes"])
    copies = take(raw, dump)

    def resolved(source):
        key = source.split(":", 1)[0]
        while key in copies:
            source = copies[key]
            key = source.split(":", 1)[0]
        return f"{key}:{leaf_names[key]}" if key in leaf_names else source

    for it in dump.order + dump.kept:
        it.sources = [resolved(source) for source in it.sources]
        it.view = it.view and resolved(it.view)
    join_sums(dump)
    return dump


def node(number, values):
    numbers = lambda key: [int(value) for value in values[key].split(",")]
    sources = [source.strip() for source in values["srcs"].split(";") if source.strip()]
    return Node(
        number, values["op"], values["name"], int(values["nbytes"]), int(values["backend"]), int(values["flags"]),
        values["type"], numbers("ne"), numbers("nb"), values.get("view_of"), sources,
    )


def free_name(name, known):
    own, number = name, 2
    while own in known:
        own, number = f"{name}_{number}", number + 1
    return own


def take(raw, dump):
    """Sorts the nodes; what the scheduler copied stands for what it is a copy of."""
    copies, at = {}, 0
    while at < len(raw):
        own, after = raw[at], raw[at + 1] if at + 1 < len(raw) else None
        if own.op != "NONE":
            dump.order.append(own)
            dump.nodes[own.id] = own
        elif (
            after is not None
            and after.op == "NONE"
            and COPY.match(after.name)
            and own.name == after.name.split("#", 1)[1].rsplit("#", 1)[0] + " (view)"
        ):
            copies[f"N{after.id}"] = own.sources[0]
            at += 1
        else:
            own.after = dump.order[-1].id
            dump.kept.append(own)
        at += 1
    return copies


def join_sums(dump):
    """The sum over experts has as many additions as there are experts less one: all after the first are left out."""
    viewed, begun, gone = {}, {}, {}
    for it in dump.order:
        if it.op == "VIEW" and it.view and reference(it.view)[0] == "N":
            viewed[it.id] = reference(it.view)[1]
        if it.op != "ADD" or len(it.sources) != 2:
            continue
        (one_kind, one), (other_kind, other) = (reference(source) for source in it.sources)
        if one_kind != "N" or other_kind != "N" or other not in viewed:
            continue
        whole, earlier = viewed[other], gone.get(one, one)
        if viewed.get(one) == whole:
            begun[it.id] = whole
        elif earlier is not None and begun.get(earlier) == whole:
            gone[it.id] = earlier
            gone[other] = None

    def stands_for(source):
        kind, number = reference(source)
        stand_in = gone.get(number) if kind == "N" else None
        return source if stand_in is None else f"N{stand_in}:"

    def is_left_out(source):
        kind, number = reference(source)
        return kind == "N" and number in gone and gone[number] is None

    dump.order = [it for it in dump.order if it.id not in gone]
    for it in dump.order + dump.kept:
        it.sources = [stands_for(source) for source in it.sources if not is_left_out(source)]
    for it in dump.kept:
        it.after = gone.get(it.after) or it.after
