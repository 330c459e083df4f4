//! When a graph's tensors need memory (`ggml_gallocr_alloc_graph_impl`): each from where it is computed to where it is last
//! read. How much they need is asked later, of many contexts.

use super::{
    split::{Schedule, Step},
    template::Operation,
    tensor::{Flags, Graph, NONE, Tensor, small},
};

/// `GGML_SCHED_MAX_COPIES`: batches that are under way at once.
const COPIES: usize = 4;

/// What happens to memory, in order; only sizes are missing. Many are kept: they are small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) act: Act,
    pub(super) backend: u8,
    /// Where it is noted which memory the tensor has.
    pub(super) note: u16,
    /// Of its size: a slot of the graph's, or after those one of `Events::special`.
    pub(super) size: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Take,
    /// It takes over the memory that is noted, and gives back what it does not need.
    Follow,
    Give,
}

/// What happens to a graph's memory, and all that sizes depend on.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) list: Vec<Event>,
    /// Of tensors that take anything but what stands in their slot.
    pub(super) special: Vec<Special>,
    pub(super) notes: u16,
}

#[derive(Debug)]
pub(super) enum Special {
    Bytes(u64),
    /// Of a cache, or computed from one: then with its keys and values.
    Cached(Box<(Tensor, [Option<Tensor>; 2])>),
}

/// No note.
const UNNOTED: u16 = u16::MAX;

/// Who still needs a tensor: of 4096 layers at the most, each with fewer than 16 readers.
#[derive(Debug, Clone, Copy)]
struct Life {
    note: u16,
    readers: u16,
    views: u16,
    is_alive: bool,
    /// Read after the graph, or by other batches.
    stays: bool,
}

/// From the order in which everything is computed, of a graph of so many slots; and the tensor of each event.
pub(super) fn events(graph: &Graph, schedule: &Schedule, slots: u32) -> (Events, Vec<u32>) {
    let lives = lives(graph, schedule);
    let room = schedule.steps.len() * 2;
    let (list, ids) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let events = Events { list, ..Events::default() };
    let mut memory = Memory { graph, lives, events, ids, slots, unused: Vec::new() };
    // Inputs have a place before everything else.
    let copies = if schedule.lasting.is_empty() { 1 } else { COPIES };
    for id in 0..graph.inputs {
        memory.take_first(id, copies);
    }
    for id in &schedule.lasting {
        memory.take_first(*id, COPIES);
    }
    for id in &graph.leaves {
        memory.take(*id);
    }
    for step in &schedule.steps {
        memory.step(*step);
    }
    memory.events.list.shrink_to_fit();
    (memory.events, memory.ids)
}

/// Who reads each tensor, before anything is computed.
fn lives(graph: &Graph, schedule: &Schedule) -> Vec<Life> {
    let life = Life { note: UNNOTED, readers: 0, views: 0, is_alive: false, stays: false };
    let alive = graph.tensors.iter();
    let alive = alive.map(|tensor| Life { stays: tensor.flags.has(Flags::OUTPUT), ..life });
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
    events: Events,
    ids: Vec<u32>,
    slots: u32,
    /// Notes of what was given back.
    unused: Vec<u16>,
}

impl Memory<'_> {
    fn take_first(&mut self, id: u32, copies: usize) {
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
        let Some(tensor) = self.graph.get(id) else { return };
        let Some(life) = self.lives.get_mut(id as usize) else { return };
        life.is_alive = true;
        if life.note == UNNOTED {
            life.note = self.unused.pop().unwrap_or(self.events.notes);
            self.events.notes = self.events.notes.max(life.note.saturating_add(1));
        }
        let note = life.note;
        self.push(Act::Take, tensor, (id, note));
    }

    fn push(&mut self, act: Act, tensor: &Tensor, (id, note): (u32, u16)) {
        let size = if act == Act::Give { NONE } else { self.size(tensor) };
        self.events.list.push(Event { act, backend: tensor.backend, note, size });
        self.ids.push(id);
    }

    /// Where the size of a tensor stands.
    fn size(&mut self, tensor: &Tensor) -> u32 {
        let is_computed_from_cache = tensor.operation == Operation::FlashAttention;
        let is_plain = tensor.cache.is_none() && !is_computed_from_cache;
        if is_plain && tensor.slot < self.slots {
            return tensor.slot;
        }
        let source = |at: usize| self.graph.get(*self.graph.sources(tensor).get(at)?).copied();
        let read = if is_computed_from_cache { [source(1), source(2)] } else { [None; 2] };
        let special =
            if is_plain { Special::Bytes(tensor.bytes) } else { Special::Cached(Box::new((*tensor, read))) };
        self.events.special.push(special);
        self.slots.saturating_add(small(self.events.special.len() - 1))
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
                let note = std::mem::replace(&mut life.note, UNNOTED);
                if let Some(life) = self.lives.get_mut(id as usize) {
                    (life.is_alive, life.note) = (true, note);
                }
                self.push(Act::Follow, tensor, (id, note));
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
        let Some(tensor) = self.graph.get(id) else { return };
        let Some(life) = self.lives.get_mut(id as usize) else { return };
        if life.is_alive && !life.stays {
            life.is_alive = false;
            let note = std::mem::replace(&mut life.note, UNNOTED);
            self.unused.push(note);
            self.push(Act::Give, tensor, (id, note));
        }
    }
}
