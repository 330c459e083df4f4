//! Compute buffers: the graph of an architecture is laid out for a model's sizes, divided among backends and placed in
//! their buffers, each as ggml does it. What is particular to an architecture stands in `graphs.txt`, taken from llama.cpp
//! itself; here are only rules that hold for all.

mod allocator;
mod build;
mod events;
mod expression;
mod layout;
mod place;
mod prepare;
mod repeat;
mod schedule;
mod split;
mod template;
mod tensor;

use super::{Backend, CacheType, FlashAttention, Settings, Shape, settings::Split};
use build::{Builder, Run, Slots};
use events::Events;
use layout::Layout;
use place::Place;
use prepare::Prepared;
use repeat::Repetition;
use schedule::Rules;
use std::{
    cell::{OnceCell, RefCell},
    ops::Range,
    rc::Rc,
    sync::{LazyLock, OnceLock},
};
use template::Template;

/// Of llama.cpp 0.5.0-dev (ggml 0.25.3); crates/domain/graphs/README.md says how it is read and made.
const TEXT: &str = include_str!("graphs.txt");

/// The graphs of `TEXT`.
static GRAPHS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let parts = TEXT.split("\narch ").map(|part| part.strip_prefix("arch ").unwrap_or(part));
    let graphs = parts.filter_map(|part| part.split_once('\n'));
    graphs.map(|(architecture, body)| Known { architecture, body, templates: Default::default() }).collect()
});

/// A graph of an architecture, of which some have several.
#[derive(Debug)]
struct Known {
    architecture: &'static str,
    body: &'static str,
    /// By variant, once somebody asked for it: reading one takes as long as a whole search.
    templates: [OnceLock<Option<Template>>; VARIANTS],
}

/// Kinds of attention: without and with flash attention, and by what of a cache is rotated.
const VARIANTS: usize = 5;

impl Known {
    /// The graph by the words of a variant; without what is rotated where the text has no such variant.
    fn template(&self, (number, variant): (usize, &str)) -> Option<&Template> {
        let read = || {
            let plain = variant.split('+').next().unwrap_or(variant);
            let stand_in = || Some(Template { is_stand_in: true, ..Template::read(self.body, plain)? });
            Template::read(self.body, variant).or_else(stand_in)
        };
        self.templates.get(number)?.get_or_init(read).as_ref()
    }
}

/// Whether an architecture has a graph of its own.
pub(super) fn is_known(architecture: &str) -> bool {
    GRAPHS.iter().any(|known| known.architecture == architecture)
}

#[cfg(test)]
pub(super) fn architectures() -> impl Iterator<Item = &'static str> {
    GRAPHS.iter().map(|known| known.architecture)
}

/// Graphs of one model on certain devices, by variant.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    prepared: [OnceCell<Option<Prepared>>; VARIANTS],
    /// Those that were laid out last: a search asks for many contexts of one placement.
    laid_out: RefCell<Vec<(Key, Rc<LaidOut>)>>,
}

/// Placements that a search returns to.
const KEPT: usize = 64;

/// What a graph depends on, besides sizes.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    variant: usize,
    layers: Vec<(u32, Place)>,
    repetitions: Vec<Repetition>,
    output: u8,
    rules: Rules,
    /// Tokens, sequences, outputs: they decide what a device fetches.
    rows: [u64; 3],
    kv_offload: bool,
}

impl Key {
    /// The same without some of the layers that repeat.
    fn shortened(&self) -> Self {
        let (layers, repetitions) = repeat::shortened(&self.layers);
        Self { layers, repetitions, ..*self }
    }
}

#[derive(Debug)]
struct LaidOut {
    slots: Slots,
    events: Events,
    /// Where repetitions lie after which others are left out: these must not make buffers larger.
    repeated: Vec<Range<usize>>,
    /// What is left out has copies that are there before it.
    reaches_back: bool,
}

impl LaidOut {
    fn of(prepared: &Prepared, key: &Key, run: &Run) -> Self {
        let mut builder = Builder::new(prepared, run);
        builder.build(&key.layers, key.output);
        let repeated: Vec<_> = key.repetitions.iter().map(|it| builder.repeated(it)).collect();
        let Builder { mut graph, slots, .. } = builder;
        schedule::assign(&mut graph, &key.rules);
        let schedule = split::split(&mut graph, &key.rules);
        let (events, ids) = events::events(&graph, &schedule, slots.count);
        let spans = repeated.iter().map(|nodes| repeat::span((&events, &ids), nodes)).collect();
        let reaches_back = repeated.iter().any(|nodes| repeat::reaches_back(&graph, &schedule, nodes));
        Self { slots, repeated: spans, events, reaches_back }
    }
}

impl Graphs {
    /// Bytes of each device's compute buffer and, last, of main memory's; and whether the graph is that of another kind of
    /// attention, for want of its own.
    pub(super) fn sizes(
        &self,
        shape: &Shape,
        devices: &[Backend],
        split: &Split,
        settings: &Settings,
    ) -> (Vec<u64>, bool) {
        let (number, variant) = variant(shape, settings);
        let device = devices.first().copied().unwrap_or(Backend::HOST);
        let prepared = self.prepared.get(number).and_then(|cell| {
            let prepared = cell.get_or_init(|| {
                let template = best(shape)?.template((number, variant))?;
                Some(Prepared::of(template, shape, device))
            });
            prepared.as_ref()
        });
        let Some(prepared) = prepared else { return (Vec::new(), true) };
        let host = u8::try_from(devices.len()).unwrap_or(u8::MAX);
        let run = run(shape, settings, host);
        let backends: Vec<Backend> = devices.iter().copied().chain([Backend::HOST]).collect();
        let key = key((number, prepared), shape, devices, (split, settings, &run));
        let sizes = self.of_key(prepared, key.shortened(), &run, &backends);
        let sizes = sizes.or_else(|| self.of_key(prepared, key, &run, &backends));
        (sizes.unwrap_or_default(), prepared.template.is_stand_in)
    }

    /// None where the layers that are left out may change something.
    fn of_key(&self, prepared: &Prepared, key: Key, run: &Run, backends: &[Backend]) -> Option<Vec<u64>> {
        let laid_out = self.laid_out(prepared, key, run);
        if laid_out.reaches_back {
            return None;
        }
        let sizes = laid_out.slots.sizes(prepared, run);
        Layout::new(&laid_out.events, (run, prepared), backends, sizes).run(&laid_out.repeated)
    }

    fn laid_out(&self, prepared: &Prepared, key: Key, run: &Run) -> Rc<LaidOut> {
        let mut known = self.laid_out.borrow_mut();
        if let Some((_, laid_out)) = known.iter().find(|(other, _)| *other == key) {
            return Rc::clone(laid_out);
        }
        let laid_out = Rc::new(LaidOut::of(prepared, &key, run));
        if known.len() >= KEPT {
            known.remove(0);
        }
        known.push((key, Rc::clone(&laid_out)));
        laid_out
    }
}

fn variant(shape: &Shape, settings: &Settings) -> (usize, &'static str) {
    // Only heads of whole parts of 64 are rotated (src/llama-kv-cache.cpp).
    let is_rotated = |kind: CacheType, head: u64| kind.is_quantized() && head > 0 && head.is_multiple_of(64);
    let (keys, values) = shape.heads();
    let rotated = (is_rotated(settings.cache_type_k, keys), is_rotated(settings.cache_type_v, values));
    match (settings.flash_attn, rotated) {
        (FlashAttention::Off, (false, _)) => (0, "off"),
        (FlashAttention::Off, (true, _)) => (1, "off+k"),
        (FlashAttention::On, (false, false)) => (2, "on"),
        (FlashAttention::On, (true, false)) => (3, "on+k"),
        (FlashAttention::On, (_, true)) => (4, "on+kv"),
    }
}

fn key(
    (variant, prepared): (usize, &Prepared),
    shape: &Shape,
    devices: &[Backend],
    (split, settings, run): (&Split, &Settings, &Run),
) -> Key {
    let host = run.host;
    let output = (0..host).find(|device| split.has_output(usize::from(*device))).unwrap_or(host);
    let is_whole = settings.gpu_layers > shape.layers && settings.kv_offload && settings.n_cpu_moe == 0;
    Key {
        variant,
        layers: layers(prepared, split, settings, host),
        repetitions: Vec::new(),
        output,
        rules: Rules {
            host,
            op_offload: settings.op_offload,
            has_flash_attention: devices.iter().all(|device| device.has_flash_kernel(shape)),
            is_pipelined: devices.len() > 1
                && is_whole
                && devices.iter().all(|device| device.is_asynchronous()),
        },
        rows: [run.tokens, run.sequences, run.outputs],
        kv_offload: settings.kv_offload,
    }
}

/// The graph for a model: of those of its architecture, or of all where it has none, the one whose layers have the most of
/// what its layers have and the least else.
fn best(shape: &Shape) -> Option<&'static Known> {
    let is_known = shape.has_graph();
    let graphs = || GRAPHS.iter().filter(|known| !is_known || known.architecture == shape.architecture);
    if graphs().nth(1).is_none() {
        return graphs().next();
    }
    let tensors = shape.tensor_names();
    let has_windows = shape.kinds.iter().any(|kind| kind.block.is_windowed);
    graphs().min_by_key(|known| {
        let sees_as_far = template::has_windows(known.body) == has_windows;
        (template::distance(known.body, &tensors), !sees_as_far)
    })
}

/// `llama_context::graph_reserve` for the largest batch.
fn run(shape: &Shape, settings: &Settings, host: u8) -> Run {
    let sequences = settings.parallel.max(1);
    let tokens = settings.tokens();
    Run {
        tokens: tokens.checked_next_multiple_of(sequences).unwrap_or(tokens),
        sequences,
        outputs: tokens.min(settings.n_outputs),
        cells: settings.cells(),
        windowed: settings.windowed_cells(shape.window),
        cache_type_k: settings.cache_type_k,
        cache_type_v: settings.cache_type_v,
        kv_offload: settings.kv_offload,
        chooses_at_once: chooses_at_once(shape.widths.experts),
        host,
    }
}

/// `ggml_cuda_should_use_topk_moe` (ggml-cuda/topk-moe.cu): a power of two up to 512, or one of two more numbers of experts.
fn chooses_at_once(experts: u64) -> bool {
    experts.is_power_of_two() && experts <= 512 || matches!(experts, 288 | 576)
}

/// What each layer is, and where.
fn layers(prepared: &Prepared, split: &Split, settings: &Settings, host: u8) -> Vec<(u32, Place)> {
    let places = split.places(prepared.of_layer.len(), host);
    let mut before = None;
    let layers = prepared.of_layer.iter().zip(places).enumerate().map(|(layer, (class, place))| {
        let experts = if (layer as u64) < settings.n_cpu_moe { host } else { place };
        // Weights that are where they are needed are not copied, nor those of the layer before: their types do not matter.
        let alike = prepared.classes.get(*class as usize).map_or(*class, |class| class.alike);
        let follows_host = before.replace(place) == Some(host);
        let is_near = place != host && experts != host && !follows_host;
        let class = if is_near { alike } else { *class };
        (class, Place { layer: place, experts })
    });
    layers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_graph_is_understood() {
        for Known { architecture, body, .. } in &*GRAPHS {
            let variants = body.lines().filter_map(|line| line.strip_prefix("variant "));
            let variants: Vec<_> = variants.filter_map(|line| line.split(' ').next()).collect();
            assert!(["on", "off"].iter().all(|it| variants.contains(it)), "{architecture} has {variants:?}");
            for variant in variants {
                assert!(Template::read(body, variant).is_some(), "{architecture} {variant}");
            }
        }
    }
}
