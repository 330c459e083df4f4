//! Graphs of an architecture as they stand in `graphs.txt`, which says how its lines are read.

use super::{
    expression::{Expression, Names},
    tensor::Contents,
};

/// The graph of one architecture and one way of attention.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// For another kind of attention, of which the text knows nothing.
    pub(super) is_stand_in: bool,
    pub(super) names: Names,
    /// Weights by the names that the segments give them.
    pub(super) weights: Vec<Weight>,
    pub(super) inputs: Vec<Input>,
    pub(super) before: Segment,
    pub(super) types: Vec<Type>,
    pub(super) layers: Vec<Layer>,
    /// Of layers.
    pub(super) segments: Vec<Segment>,
    pub(super) after: Segment,
}

/// Filled by the host before the graph is computed.
#[derive(Debug)]
pub(super) struct Input {
    name: String,
    pub(super) size: Size,
}

#[derive(Debug)]
pub(super) enum Size {
    Bytes(Expression),
    /// A Hadamard matrix for a quantized cache, of keys or of values.
    Rotation {
        of_keys: bool,
        /// 0 of layers that see as far as the first one, 1 of the others.
        which: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    /// Without its layer and without `.weight`.
    pub(super) name: String,
    pub(super) whose: Whose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Layer,
    LayerBefore,
    /// Of the first layer, for others.
    First,
    Model,
    /// What lies with the output layer, whoever reads it.
    Output,
}

/// What layers have: one type of them.
#[derive(Debug, Default)]
pub(super) struct Type {
    pub(super) is_windowed: bool,
    /// It keeps nothing, and reads what another layer keeps.
    pub(super) is_sharing: bool,
    /// Only layers before this one.
    pub(super) end: Option<usize>,
    pub(super) weights: Vec<String>,
}

/// A layer among its neighbors: what is computed between one layer and the next may belong to either.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Types; None where there is no layer.
    pub(super) before: Option<usize>,
    pub(super) own: usize,
    pub(super) after: Option<usize>,
    /// It was seen as the second layer only.
    pub(super) is_second: bool,
    pub(super) segment: usize,
}

#[derive(Debug, Default)]
pub(super) struct Segment {
    pub(super) nodes: Vec<Node>,
}

/// One operation.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) operation: Operation,
    /// Bytes; elements for a view of a cache.
    pub(super) size: Expression,
    /// Rows that decide whether a device computes with a weight of main memory.
    pub(super) rows: Expression,
    /// Sources whose memory it may take over, a bit each.
    pub(super) reusable: u8,
    /// It is read after the graph.
    pub(super) is_output: bool,
    /// No device computes it.
    pub(super) is_for_host: bool,
    /// What it is a view of, or writes into.
    pub(super) view: Option<Source>,
    pub(super) sources: Vec<Source>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Operation {
    #[default]
    Other,
    /// View, reshape, permutation.
    View,
    /// Memory that nothing has computed yet; it is there from the start.
    Leaf,
    Rope,
    FlashAttention,
    /// Only keeps its sources alive until here: an operation that is computed together with others reads them.
    Keep,
    /// The same where experts are chosen in one operation, which has kernels for some numbers of them.
    KeepChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A node of this segment.
    Here(usize),
    /// Of a segment so many back, counted from its end.
    Back(usize, usize),
    /// Of what comes before the layers.
    Before(usize),
    /// Of the first layer.
    First(usize),
    Input(usize),
    Weight(usize),
    /// The layer's own cache, or that of the last layer before it that keeps one and sees as far.
    Cache {
        is_own: bool,
        of: Contents,
    },
}

impl Template {
    /// The graph by the words of a variant: `on`, `on+k`, `on+kv`, `off`, `off+k`. None where there is none, and where a line
    /// is not understood.
    pub(super) fn read(body: &str, variant: &str) -> Option<Self> {
        let mut template = Self::default();
        let start = format!("variant {variant} ");
        let mut lines = body.lines();
        let header = lines.find_map(|line| line.strip_prefix(&*start))?;
        for line in lines.map_while(|line| line.strip_prefix("in ")) {
            let (name, size) = line.split_once(' ')?;
            let size = match size {
                "rot" => {
                    Size::Rotation { of_keys: name.contains("_k_"), which: usize::from(name.ends_with("_2")) }
                }
                bytes => Size::Bytes(Expression::parse(bytes, &mut template.names)?),
            };
            template.inputs.push(Input { name: name.to_owned(), size });
        }
        for line in body.lines().filter_map(|line| line.strip_prefix("type ")) {
            let mut words = line.split(' ').skip(1);
            let cache = words.next()?;
            let (cache, end) = match cache.split_once('<') {
                Some((cache, end)) => (cache, Some(end.parse().ok()?)),
                None => (cache, None),
            };
            let (is_windowed, is_sharing) = (cache.starts_with('1'), cache.ends_with('C'));
            let weights = words.map(str::to_owned).collect();
            template.types.push(Type { is_windowed, is_sharing, end, weights });
        }
        let mut numbers: Vec<&str> = Vec::new();
        for word in header.split(' ') {
            let (kind, number) = word.split_once(':')?;
            match kind {
                "pre" => template.before = template.segment(body, number)?,
                "post" => template.after = template.segment(body, number)?,
                types => {
                    let at = match numbers.iter().position(|known| *known == number) {
                        Some(at) => at,
                        None => {
                            let segment = template.segment(body, number)?;
                            template.segments.push(segment);
                            numbers.push(number);
                            numbers.len() - 1
                        }
                    };
                    template.layers.push(Layer::read(types, at)?);
                }
            }
        }
        Some(template)
    }

    fn segment(&mut self, body: &str, number: &str) -> Option<Segment> {
        let start = format!("seg {number}");
        let lines = body.lines().skip_while(|line| *line != start).skip(1);
        let lines = lines.take_while(|line| !line.starts_with("seg "));
        let nodes: Option<Vec<Node>> = lines.map(|line| self.node(line)).collect();
        Some(Segment { nodes: nodes? })
    }

    /// `mm 4*T*ffn_up:1 T w:ffn_up .27`: what, bytes, rows, then flags and sources.
    fn node(&mut self, line: &str) -> Option<Node> {
        let mut words = line.split(' ');
        let operation = match words.next()? {
            "v" => Operation::View,
            "leaf" => Operation::Leaf,
            "rope" => Operation::Rope,
            "fa" => Operation::FlashAttention,
            "keep" => Operation::Keep,
            "topk" => Operation::KeepChoice,
            _ => Operation::Other,
        };
        let size = Expression::parse(words.next()?, &mut self.names)?;
        let mut node = Node { operation, size, ..Node::default() };
        match words.next()? {
            "-" => {}
            rows => node.rows = Expression::parse(rows, &mut self.names)?,
        }
        for word in words {
            let mut letters = word.chars();
            match letters.next()? {
                '=' => {
                    for digit in letters {
                        node.reusable |= 1_u8.checked_shl(digit.to_digit(10)?)?;
                    }
                }
                '~' => node.view = Some(self.source(letters.as_str())?),
                'o' | '!' if word.len() <= 2 => {
                    node.is_output |= word.contains('o');
                    node.is_for_host |= word.contains('!');
                }
                _ => node.sources.push(self.source(word)?),
            }
        }
        Some(node)
    }

    fn source(&mut self, word: &str) -> Option<Source> {
        if let Some(rest) = word.strip_prefix('.') {
            return rest.parse().ok().map(Source::Here);
        }
        if let Some(rest) = word.strip_prefix('@') {
            return rest.parse().ok().map(Source::Before);
        }
        if let Some(rest) = word.strip_prefix('%') {
            return rest.parse().ok().map(Source::First);
        }
        if let Some(name) = word.strip_prefix('#') {
            return self.inputs.iter().position(|input| input.name == name).map(Source::Input);
        }
        if let Some((segments, nodes)) = word.split_once('^') {
            let segments = if segments.is_empty() { 1 } else { segments.parse().ok()? };
            return nodes.parse().ok().map(|nodes| Source::Back(segments, nodes));
        }
        let (kind, name) = word.split_once(':')?;
        if kind == "c" || kind == "C" {
            let of = match name {
                "k" => Contents::Keys,
                "v" => Contents::Values,
                _ => Contents::State,
            };
            return Some(Source::Cache { is_own: kind == "c", of });
        }
        let whose = match kind {
            "w" => Whose::Layer,
            "x" => Whose::LayerBefore,
            _ => Whose::Model,
        };
        let weight = Weight { name: name.to_owned(), whose };
        if let Some(at) = self.weights.iter().position(|known| *known == weight) {
            return Some(Source::Weight(at));
        }
        self.weights.push(weight);
        Some(Source::Weight(self.weights.len() - 1))
    }
}

impl Layer {
    /// `0/1/-`: its type between those of its neighbors; a fourth word for what only the second layer is.
    fn read(types: &str, segment: usize) -> Option<Self> {
        let mut words = types.split('/');
        let neighbor = |word: &str| match word {
            "-" => Some(None),
            number => number.parse().ok().map(Some),
        };
        Some(Self {
            before: neighbor(words.next()?)?,
            own: words.next()?.parse().ok()?,
            after: neighbor(words.next()?)?,
            is_second: words.next().is_some(),
            segment,
        })
    }
}

/// Whether layers of a graph see only so far.
pub(super) fn has_windows(body: &str) -> bool {
    let types = body.lines().map_while(|line| line.strip_prefix("type "));
    types.filter_map(|line| line.split(' ').nth(1)).any(|cache| cache.starts_with('1'))
}

/// How many weights the layers of a graph have that a model's have not, and the other way round.
pub(super) fn distance(body: &str, tensors: &[String]) -> usize {
    let lines = body.lines().take_while(|line| line.starts_with("type "));
    let mut known: Vec<&str> = lines.flat_map(|line| line.split(' ').skip(3)).collect();
    known.sort_unstable();
    known.dedup();
    let is_missing = |name: &&&str| !tensors.iter().any(|own| own == **name);
    let others = tensors.iter().filter(|name| !known.contains(&name.as_str())).count();
    known.iter().filter(is_missing).count() + others
}
