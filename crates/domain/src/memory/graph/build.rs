//! One graph, laid out for a model: which tensors there are, what each is made of, where weights and caches lie. Sizes are
//! found later: they change with the context, and the graph does not.

use super::{
    place::{At, Place},
    prepare::{Class, Moving, Prepared},
    repeat::Repetition,
    template::{Node, Operation, Segment, Size, Source, Template, Whose},
    tensor::{Contents, Flags, Graph, Kind, NONE, Tensor, UNASSIGNED, small},
};
use crate::memory::{CacheType, product, settings::Cells};
use std::ops::Range;

/// `GGML_OP_OFFLOAD_MIN_BATCH`: products of fewer rows are computed where the matrix is.
const ROWS_TO_OFFLOAD: u64 = 32;

/// Numbers of one computation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) tokens: u64,
    pub(super) sequences: u64,
    pub(super) outputs: u64,
    /// Of full caches, and of windows.
    pub(super) cells: Cells,
    pub(super) windowed: Cells,
    pub(super) cache_type_k: CacheType,
    pub(super) cache_type_v: CacheType,
    pub(super) kv_offload: bool,
    /// The device chooses experts in one operation.
    pub(super) chooses_at_once: bool,
    /// The backend that is main memory.
    pub(super) host: u8,
}

impl Run {
    /// What a name stands for that settings decide.
    fn number(&self, name: Moving) -> u64 {
        match name {
            Moving::Tokens => self.tokens,
            Moving::Sequences => self.sequences,
            Moving::PerSequence => self.tokens.checked_div(self.sequences).unwrap_or(0),
            Moving::Outputs => self.outputs,
            Moving::Cells => self.cells.per_stream,
            Moving::AllCells => self.cells.all(),
            Moving::Windowed => self.windowed.per_stream,
            Moving::AllWindowed => self.windowed.all(),
        }
    }

    /// Elements become bytes.
    fn cached(&self, contents: Contents, elements: u64) -> u64 {
        self.cache_type(contents).map_or(elements, |kind| kind.row_size(elements))
    }

    /// None for recurrent state, which is of one type.
    pub(super) fn cache_type(&self, contents: Contents) -> Option<CacheType> {
        match contents {
            Contents::Keys => Some(self.cache_type_k),
            Contents::Values => Some(self.cache_type_v),
            Contents::State => None,
        }
    }
}

/// The segments of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Inputs,
    Before,
    Layer(u32),
    After,
}

/// Where the sizes of each part stand.
#[derive(Debug, Default)]
pub(super) struct Slots {
    parts: Vec<(Part, u32)>,
    pub(super) count: u32,
}

impl Slots {
    fn of(&mut self, part: Part, length: usize) -> u32 {
        if let Some((_, start)) = self.parts.iter().find(|(known, _)| *known == part) {
            return *start;
        }
        let start = self.count;
        self.parts.push((part, start));
        self.count = self.count.saturating_add(small(length));
        start
    }

    /// The sizes of all tensors: bytes, and elements for what is of a cache.
    pub(super) fn sizes(&self, prepared: &Prepared, run: &Run) -> Vec<u64> {
        let template = &prepared.template;
        let mut sizes = Vec::with_capacity(self.count as usize);
        let mut values = Vec::new();
        for (part, _) in &self.parts {
            let (class, segment) = match part {
                Part::Inputs => {
                    evaluate(&mut values, &prepared.whole, prepared, run);
                    sizes.extend(template.inputs.iter().map(|input| match &input.size {
                        Size::Bytes(expression) => expression.value(&values),
                        Size::Rotation { of_keys, which } => {
                            rotation(prepared.heads.get(*which).copied().unwrap_or(0), *of_keys)
                        }
                    }));
                    continue;
                }
                Part::Before => (&prepared.whole, &template.before),
                Part::After => (&prepared.whole, &template.after),
                Part::Layer(class) => {
                    let Some(class) = prepared.classes.get(*class as usize) else { continue };
                    let Some(segment) = template.segments.get(class.segment) else { continue };
                    (class, segment)
                }
            };
            evaluate(&mut values, class, prepared, run);
            sizes.extend(segment.nodes.iter().map(|node| node.size.value(&values)));
        }
        sizes
    }
}

fn evaluate(values: &mut Vec<u64>, class: &Class, prepared: &Prepared, run: &Run) {
    values.clear();
    values.extend_from_slice(&class.values);
    for (name, moving) in &prepared.moving {
        if let Some(value) = values.get_mut(*name) {
            *value = run.number(*moving);
        }
    }
}

/// Bytes of a tensor by the sizes of its graph.
pub(super) fn bytes(tensor: &Tensor, sizes: &[u64], run: &Run) -> u64 {
    let Some(size) = sizes.get(tensor.slot as usize) else { return tensor.bytes };
    tensor.cache.map_or(*size, |contents| run.cached(contents, *size))
}

/// `build_input_k_rot`, `build_input_v_rot` (src/llama-kv-cache.cpp): the largest power of two, from 64, that divides a key;
/// 64 for values. Bytes of a square of F32.
fn rotation(head: u64, of_keys: bool) -> u64 {
    let mut side = 64;
    while of_keys && side < head && head.is_multiple_of(side * 2) {
        side *= 2;
    }
    product([side, side, 4])
}

pub(super) struct Builder<'a> {
    prepared: &'a Prepared,
    run: &'a Run,
    pub(super) graph: Graph,
    pub(super) slots: Slots,
    /// Tensors of each segment by their number there.
    numbers: Vec<u32>,
    /// Where each segment's numbers begin.
    starts: Vec<usize>,
    /// What names stand for in the segment under way.
    values: Vec<u64>,
    /// Weights and caches of the segment under way.
    known: Vec<(Source, u32)>,
    /// Weights that are the same for all layers, by where they are.
    shared: Vec<(Source, u8, u32)>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(prepared: &'a Prepared, run: &'a Run) -> Self {
        Self {
            prepared,
            run,
            graph: Graph::default(),
            slots: Slots::default(),
            numbers: Vec::new(),
            starts: Vec::new(),
            values: Vec::new(),
            known: Vec::new(),
            shared: Vec::new(),
        }
    }

    /// Lays out the whole graph for layers by their class and place.
    pub(super) fn build(&mut self, layers: &[(u32, Place)], output: u8) {
        let prepared = self.prepared;
        let template = &prepared.template;
        self.reserve(layers);
        let slot = self.slots.of(Part::Inputs, template.inputs.len());
        for number in 0..small(template.inputs.len()) {
            let input = Tensor { slot: slot + number, ..Tensor::new(Kind::Input, self.run.host, 0) };
            self.graph.push(input);
        }
        self.graph.inputs = small(template.inputs.len());
        let mut at = At::new(layers.first().map_or(output, |(_, place)| place.layer), output);
        self.add(Part::Before, &template.before, &prepared.whole, At { is_start: true, ..at });
        for (number, place) in layers {
            let Some(class) = prepared.classes.get(*number as usize) else { continue };
            let Some(segment) = template.segments.get(class.segment) else { continue };
            at = At { place: *place, before: at.place, is_windowed: class.is_windowed, ..at };
            match (class.keeps, class.is_windowed) {
                (true, true) => at.windowed = *place,
                (true, false) => at.full = *place,
                (false, _) => {}
            }
            self.add(Part::Layer(class.alike), segment, class, at);
        }
        let after = At { before: at.place, first: at.first, ..At::new(output, output) };
        self.add(Part::After, &template.after, &prepared.whole, after);
    }

    /// Room for what these layers will have.
    fn reserve(&mut self, layers: &[(u32, Place)]) {
        let Template { before, segments, after, .. } = self.prepared.template;
        let classes = layers.iter().filter_map(|(number, _)| self.prepared.classes.get(*number as usize));
        let segments = classes.filter_map(|class| segments.get(class.segment)).chain([before, after]);
        let nodes: usize = segments.map(|segment| segment.nodes.len()).sum();
        self.numbers.reserve(nodes);
        self.graph.reserve(nodes);
    }

    /// Operations of a repetition, each with what it is in the one before.
    pub(super) fn repeated(&self, repetition: &Repetition) -> Vec<(u32, u32)> {
        // The first segment comes before all layers.
        let start = |layer: usize| self.starts.get(layer + 1).copied().unwrap_or(self.numbers.len());
        let nodes = |layers: &Range<usize>| {
            self.numbers.get(start(layers.start)..start(layers.end)).unwrap_or(&[]).iter().copied()
        };
        nodes(&repetition.own).zip(nodes(&repetition.before)).collect()
    }

    fn add(&mut self, part: Part, segment: &Segment, class: &Class, at: At) {
        let slot = self.slots.of(part, segment.nodes.len());
        let at = At { start: self.numbers.len(), ..at };
        self.starts.push(at.start);
        self.known.clear();
        evaluate(&mut self.values, class, self.prepared, self.run);
        for (number, node) in (0_u32..).zip(&segment.nodes) {
            let id = self.node(node, class, (&at, slot + number));
            self.numbers.push(id);
        }
    }

    fn node(&mut self, node: &Node, class: &Class, (at, slot): (&At, u32)) -> u32 {
        if node.operation == Operation::KeepChoice && !self.run.chooses_at_once {
            return NONE;
        }
        let from = self.graph.sources.len();
        if node.operation == Operation::Leaf {
            let leaf = Tensor { slot, ..Tensor::new(Kind::Input, UNASSIGNED, 0) };
            let id = self.graph.push(leaf);
            self.graph.leaves.push(id);
            return id;
        }
        let may_lack = matches!(node.operation, Operation::Rope | Operation::FlashAttention);
        let mut is_missing = false;
        for source in &node.sources {
            let id = self.find(*source, class, at);
            if id != NONE {
                self.graph.sources.push(id);
            }
            // Factors and sinks may be left out; what has no other weight is not computed.
            is_missing |= id == NONE && !may_lack;
        }
        if is_missing {
            return self.stand_in(from);
        }
        let view = node.view.map_or(NONE, |view| self.find(view, class, at));
        let view = self.graph.get(view).map_or(NONE, |of| if of.view == NONE { view } else { of.view });
        let mut sources = self.graph.sources.iter().skip(from).filter_map(|source| self.graph.get(*source));
        let has_weight = sources.any(|source| source.kind == Kind::Weight);
        let mut tensor = Tensor::new(Kind::Node, UNASSIGNED, 0);
        tensor.operation = node.operation;
        tensor.reusable = node.reusable;
        tensor.slot = slot;
        tensor.view = view;
        tensor.flags = Flags::default()
            .with(Flags::FOR_HOST, node.is_for_host)
            .with(Flags::OUTPUT, node.is_output)
            .with(Flags::LARGE, has_weight && node.rows.value(&self.values) >= ROWS_TO_OFFLOAD);
        if let Some(root) = self.graph.get(view).filter(|root| root.kind == Kind::Cache) {
            (tensor.backend, tensor.cache) = (root.backend, root.cache);
        }
        self.graph.push_node(tensor, from)
    }

    /// What is taken for a node whose weight the model does not have: its first source that is computed.
    fn stand_in(&mut self, from: usize) -> u32 {
        let sources = self.graph.sources.split_off(from);
        let is_node = |id: &&u32| self.graph.get(**id).is_some_and(|tensor| tensor.kind == Kind::Node);
        sources.iter().find(is_node).or(sources.first()).copied().unwrap_or(NONE)
    }

    fn find(&mut self, source: Source, class: &Class, at: &At) -> u32 {
        let number = |at: usize| self.numbers.get(at).copied().unwrap_or(NONE);
        match source {
            Source::Here(node) => number(at.start + node),
            Source::Before(node) => number(node),
            Source::First(node) => number(self.starts.get(1).map_or(0, |first| first + node)),
            Source::Back(segments, nodes) => {
                let after = self.starts.len().checked_sub(segments).and_then(|at| self.starts.get(at));
                // The first layers have nothing so far back but what is before all layers.
                let end = after.filter(|end| **end > 0).or(self.starts.get(1)).copied().unwrap_or(at.start);
                end.checked_sub(nodes).map_or(NONE, number)
            }
            Source::Input(input) => small(input),
            Source::Weight(_) | Source::Cache { .. } => {
                if let Some((_, id)) = self.known.iter().find(|(other, _)| *other == source) {
                    return *id;
                }
                let id = self.held(source, class, at);
                self.known.push((source, id));
                id
            }
        }
    }

    /// A weight or a cache, where it lies; none where the model has none of that name.
    fn held(&mut self, source: Source, class: &Class, at: &At) -> u32 {
        let (tensor, is_shared) = match source {
            Source::Weight(number) => {
                let Some(weight) = class.weights.get(number).copied().flatten() else { return NONE };
                let own = at.of(weight.whose);
                let lies = if weight.is_expert { own.experts } else { own.layer };
                // An embedding stays in main memory; as an output it is another tensor.
                let is_for_host = weight.is_for_host || weight.is_input && at.is_start;
                let lies = if is_for_host { self.run.host } else { lies };
                let is_shared = !matches!(weight.whose, Whose::Layer | Whose::LayerBefore);
                (Tensor::new(Kind::Weight, lies, weight.bytes), is_shared)
            }
            Source::Cache { is_own, of } => {
                let lies = if self.run.kv_offload { at.cache(is_own) } else { self.run.host };
                (Tensor { cache: Some(of), ..Tensor::new(Kind::Cache, lies, 0) }, false)
            }
            Source::Here(_) | Source::Back(..) | Source::Before(_) | Source::First(_) | Source::Input(_) => {
                return NONE;
            }
        };
        if !is_shared {
            return self.graph.push(tensor);
        }
        let is_same =
            |(other, backend, _): &&(Source, u8, u32)| *other == source && *backend == tensor.backend;
        if let Some((_, _, id)) = self.shared.iter().find(is_same) {
            return *id;
        }
        let id = self.graph.push(tensor);
        self.shared.push((source, tensor.backend, id));
        id
    }
}
