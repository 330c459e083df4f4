//! How large the compute buffers become (`ggml_gallocr_alloc_graph_impl`): every tensor from where it is computed to where
//! it is last read.

use super::{
    allocator::Buffer,
    build::{Run, bytes},
    prepare::Prepared,
    split::{Schedule, Step},
    template::Operation,
    tensor::{Contents, Flags, Graph, Kind, NONE, Tensor},
};
use crate::memory::{Backend, CacheType, padded, sum};
use std::ops::Range;

/// `GGML_SCHED_MAX_COPIES`: batches that are under way at once.
const COPIES: usize = 4;

/// What happens to memory, in order; only sizes are missing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Take(u32),
    /// The second tensor takes over the place of the first.
    Follow(u32, u32),
    Give(u32),
}

/// Who still needs a tensor.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    readers: u16,
    views: u16,
    is_alive: bool,
    /// Read after the graph, or by other batches.
    stays: bool,
}

/// From the order in which everything is computed.
pub(super) fn events(graph: &Graph, schedule: &Schedule) -> Vec<Event> {
    let mut memory = Memory { graph, lives: lives(graph, schedule), events: Vec::new() };
    // Inputs have a place before everything else.
    let copies = if schedule.lasting.is_empty() { 1 } else { COPIES };
    for id in 0..graph.inputs {
        memory.take_for_good(id, copies);
    }
    for id in &schedule.lasting {
        memory.take_for_good(*id, COPIES);
    }
    for id in &graph.leaves {
        memory.take(*id);
    }
    for step in &schedule.steps {
        memory.step(*step);
    }
    memory.events
}

/// Who reads each tensor, before anything is computed.
fn lives(graph: &Graph, schedule: &Schedule) -> Vec<Life> {
    let alive = graph.tensors.iter();
    let alive = alive.map(|tensor| Life { stays: tensor.flags.has(Flags::OUTPUT), ..Life::default() });
    let mut lives: Vec<Life> = alive.collect();
    let read = |lives: &mut Vec<Life>, id: u32| {
        if let Some(life) = lives.get_mut(id as usize) {
            life.readers = life.readers.saturating_add(1);
        }
    };
    for step in &schedule.steps {
        match *step {
            Step::Read(id) => read(&mut lives, id),
            Step::Copy(_) => {}
            Step::Compute(id) | Step::Keep(id) => {
                let Some(tensor) = graph.get(id) else { continue };
                if let Some(root) = lives.get_mut(tensor.view as usize) {
                    root.views = root.views.saturating_add(1);
                }
                graph.sources(tensor).iter().for_each(|source| read(&mut lives, *source));
            }
        }
    }
    lives
}

struct Memory<'a> {
    graph: &'a Graph,
    lives: Vec<Life>,
    events: Vec<Event>,
}

impl Memory<'_> {
    fn take_for_good(&mut self, id: u32, copies: usize) {
        for _ in 0..copies {
            self.take(id);
        }
        if let Some(life) = self.lives.get_mut(id as usize) {
            life.stays = copies > 1;
        }
    }

    fn step(&mut self, step: Step) {
        let graph = self.graph;
        match step {
            Step::Read(id) => self.read(id),
            Step::Copy(id) => {
                if !self.lives.get(id as usize).is_some_and(|life| life.is_alive) {
                    self.take(id);
                }
            }
            Step::Compute(id) => {
                let Some(tensor) = graph.get(id) else { return };
                if tensor.view == NONE && !self.take_over(id, tensor) {
                    self.take(id);
                }
                graph.sources(tensor).iter().for_each(|source| self.read(*source));
            }
            Step::Keep(id) => {
                let Some(tensor) = graph.get(id) else { return };
                graph.sources(tensor).iter().for_each(|source| self.read(*source));
            }
        }
    }

    fn take(&mut self, id: u32) {
        if let Some(life) = self.lives.get_mut(id as usize) {
            life.is_alive = true;
        }
        self.events.push(Event::Take(id));
    }

    /// Takes the place of a source that nobody else reads. A view has no memory of its own to hand over.
    fn take_over(&mut self, id: u32, tensor: &Tensor) -> bool {
        if tensor.reusable == 0 {
            return false;
        }
        for (at, source) in (0_u32..8).zip(self.graph.sources(tensor)) {
            if tensor.reusable >> at & 1 == 0 {
                continue;
            }
            let Some(parent) = self.graph.get(*source) else { continue };
            let Some(life) = self.lives.get_mut(*source as usize) else { continue };
            let is_last = life.readers == 1 && life.views == 0 && life.is_alive && !life.stays;
            if is_last && parent.view == NONE && !parent.is_external() && parent.backend == tensor.backend {
                life.is_alive = false;
                if let Some(life) = self.lives.get_mut(id as usize) {
                    life.is_alive = true;
                }
                self.events.push(Event::Follow(*source, id));
                return true;
            }
        }
        false
    }

    /// One reader less; the last one frees it.
    fn read(&mut self, id: u32) {
        let Some(tensor) = self.graph.get(id) else { return };
        let Some(life) = self.lives.get_mut(id as usize) else { return };
        life.readers = life.readers.saturating_sub(1);
        if life.readers > 0 || life.views > 0 {
            return;
        }
        if tensor.view == NONE {
            self.give(id);
            return;
        }
        let Some(root) = self.lives.get_mut(tensor.view as usize) else { return };
        root.views = root.views.saturating_sub(1);
        if root.views == 0 && root.readers == 0 {
            self.give(tensor.view);
        }
    }

    fn give(&mut self, id: u32) {
        let Some(life) = self.lives.get_mut(id as usize) else { return };
        if life.is_alive && !life.stays {
            life.is_alive = false;
            self.events.push(Event::Give(id));
        }
    }
}

/// What a layout is made for.
pub(super) struct Layout<'a> {
    graph: &'a Graph,
    run: &'a Run,
    backends: &'a [Backend],
    /// Elements of the key of one head, and the parts of a key that is a value too.
    head: u64,
    part: (u64, u64),
    sizes: &'a [u64],
    buffers: Vec<Buffer>,
    /// Offset and size of each tensor.
    places: Vec<(u64, u64)>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        run: &'a Run,
        backends: &'a [Backend],
        prepared: &Prepared,
        sizes: &'a [u64],
    ) -> Self {
        let buffers = backends.iter().map(|backend| Buffer::new(backend.alignment())).collect();
        Self {
            graph,
            run,
            backends,
            head: prepared.head,
            part: prepared.part,
            sizes,
            buffers,
            places: vec![(0, 0); graph.tensors.len()],
        }
    }

    /// Returns the bytes of each backend's buffer; None where a buffer grows within one of these spans.
    pub(super) fn run(mut self, events: &[Event], spans: &[Range<usize>]) -> Option<Vec<u64>> {
        let mut done = 0;
        for span in spans {
            self.place(events.get(done..span.start)?);
            let before = self.size_of_all();
            self.place(events.get(span.clone())?);
            if self.size_of_all() > before {
                return None;
            }
            done = span.end;
        }
        self.place(events.get(done..)?);
        Some(self.buffers.iter().map(|buffer| buffer.size).collect())
    }

    fn size_of_all(&self) -> u64 {
        sum(self.buffers.iter().map(|buffer| buffer.size))
    }

    fn place(&mut self, events: &[Event]) {
        for event in events {
            match *event {
                Event::Take(id) => self.take(id),
                Event::Follow(owner, id) => self.hand_over(owner, id),
                Event::Give(id) => self.give(id),
            }
        }
    }

    fn take(&mut self, id: u32) {
        let Some(tensor) = self.graph.get(id) else { return };
        let size = self.size(tensor);
        let Some(buffer) = self.buffers.get_mut(usize::from(tensor.backend)) else { return };
        let offset = buffer.take(size);
        if let Some(place) = self.places.get_mut(id as usize) {
            *place = (offset, size);
        }
    }

    fn hand_over(&mut self, owner: u32, id: u32) {
        let Some(tensor) = self.graph.get(id) else { return };
        let size = self.size(tensor);
        let Some((offset, owned)) = self.places.get(owner as usize).copied() else { return };
        if let Some(buffer) = self.buffers.get_mut(usize::from(tensor.backend))
            && let Some((used, rest)) = buffer.saved(owned, size)
        {
            buffer.give(offset.saturating_add(used), rest);
        }
        if let Some(place) = self.places.get_mut(id as usize) {
            *place = (offset, size);
        }
    }

    fn give(&mut self, id: u32) {
        let Some(tensor) = self.graph.get(id) else { return };
        let Some((offset, size)) = self.places.get(id as usize).copied() else { return };
        if let Some(buffer) = self.buffers.get_mut(usize::from(tensor.backend)) {
            buffer.give(offset, size);
        }
    }

    /// Bytes that a tensor takes of its backend's buffer.
    fn size(&self, tensor: &Tensor) -> u64 {
        let size = bytes(tensor, self.sizes, self.run);
        let Some(backend) = self.backends.get(usize::from(tensor.backend)) else { return size };
        match (tensor.operation, tensor.kind, tensor.cache.and_then(|contents| self.quantized(contents))) {
            (Operation::FlashAttention, _, _) if backend.unpacks() => self.unpacked(tensor, size),
            // The last row of a quantized matrix is read beyond its end.
            (_, Kind::Copy, Some(kind)) => size.saturating_add(kind.row_size(backend.missing(self.head))),
            _ => size,
        }
    }

    fn quantized(&self, contents: Contents) -> Option<CacheType> {
        self.run.cache_type(contents).filter(|kind| kind.is_quantized())
    }

    /// `ggml_cuda_flash_attn_ext_get_alloc_size` (ggml-cuda/fattn.cu): keys and values of other types beside the result, as
    /// F16; values that are part of the keys are not there twice.
    fn unpacked(&self, tensor: &Tensor, size: u64) -> u64 {
        const ALIGNMENT: u64 = 128;
        let mut before = None;
        let mut size = size;
        for source in self.graph.sources(tensor).iter().skip(1).take(2) {
            let Some(cached) = self.graph.get(*source) else { continue };
            let Some(contents) = cached.cache else { continue };
            let is_part = before == Some(contents);
            before = Some(contents);
            // A copy is no part any more.
            let is_unpacked = self.run.cache_type(contents).is_none_or(|kind| kind == CacheType::F16);
            if is_unpacked || is_part && cached.kind != Kind::Copy {
                continue;
            }
            let spanned = self.sizes.get(cached.slot as usize).copied().unwrap_or(0);
            let (keys, values) = self.part;
            let elements =
                if is_part { spanned.div_ceil(keys.max(1)).saturating_mul(values) } else { spanned };
            size = padded(size, ALIGNMENT).saturating_add(elements.saturating_mul(2));
        }
        size
    }
}
