//! How large the compute buffers become (`ggml_gallocr_alloc_graph_impl`), of sizes that are known at last.

use super::{
    allocator::Buffer,
    build::{Run, bytes},
    events::{Act, Event, Events, Special},
    prepare::Prepared,
    template::Operation,
    tensor::{Contents, Kind, Tensor},
};
use crate::memory::{Backend, CacheType, padded, sum};
use std::ops::Range;

/// What a layout is made for.
pub(super) struct Layout<'a> {
    events: &'a [Event],
    /// Bytes by slot, then of what is special.
    sizes: Vec<u64>,
    buffers: Vec<Buffer>,
    /// Offset and padded size of what has memory.
    places: Vec<(u64, u64)>,
}

impl<'a> Layout<'a> {
    /// For the sizes of a graph's slots.
    pub(super) fn new(
        events: &'a Events,
        (run, prepared): (&Run, &Prepared),
        backends: &[Backend],
        mut sizes: Vec<u64>,
    ) -> Self {
        let sizer = Sizer { run, backends, head: prepared.head, part: prepared.part, sizes: &sizes };
        let size = |special: &Special| match special {
            Special::Bytes(bytes) => *bytes,
            Special::Cached(cached) => sizer.size(&cached.0, &cached.1),
        };
        let special: Vec<u64> = events.special.iter().map(size).collect();
        sizes.extend(special);
        let buffers = backends.iter().map(|backend| Buffer::new(backend.alignment())).collect();
        Self { events: &events.list, sizes, buffers, places: vec![(0, 0); usize::from(events.notes)] }
    }

    /// Returns the bytes of each backend's buffer; None where a buffer grows within one of these spans.
    pub(super) fn run(mut self, spans: &[Range<usize>]) -> Option<Vec<u64>> {
        let (events, mut done) = (self.events, 0);
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
            let Some(buffer) = self.buffers.get_mut(usize::from(event.backend)) else { continue };
            let Some(place) = self.places.get_mut(usize::from(event.note)) else { continue };
            if event.act == Act::Give {
                buffer.give(place.0, place.1);
                continue;
            }
            let size = buffer.padded(self.sizes.get(event.size as usize).copied().unwrap_or(0));
            let offset = if event.act == Act::Take {
                buffer.take(size)
            } else {
                if place.1 > size {
                    buffer.give(place.0.saturating_add(size), place.1 - size);
                }
                place.0
            };
            *place = (offset, size);
        }
    }
}

/// How large tensors are that take anything but what stands in their slot.
struct Sizer<'a> {
    run: &'a Run,
    backends: &'a [Backend],
    /// Elements of the key of one head, and the parts of a key that is a value too.
    head: u64,
    part: (u64, u64),
    sizes: &'a [u64],
}

impl Sizer<'_> {
    /// Bytes that a tensor takes of its backend's buffer.
    fn size(&self, tensor: &Tensor, read: &[Option<Tensor>]) -> u64 {
        let size = bytes(tensor, self.sizes, self.run);
        let Some(backend) = self.backends.get(usize::from(tensor.backend)) else { return size };
        match (tensor.operation, tensor.kind, tensor.cache.and_then(|contents| self.quantized(contents))) {
            (Operation::FlashAttention, _, _) if backend.unpacks() => self.unpacked(read, size),
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
    fn unpacked(&self, read: &[Option<Tensor>], size: u64) -> u64 {
        const ALIGNMENT: u64 = 128;
        let mut before = None;
        let mut size = size;
        for cached in read.iter().flatten() {
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
