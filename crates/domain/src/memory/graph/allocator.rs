//! How ggml-alloc.c places tensors in a compute buffer (`ggml_dyn_tallocr`, `ggml_gallocr_alloc_graph_impl`): the
//! smallest free block that is large enough, and the buffer's end only where there is none.

use super::super::padded;

/// One buffer while it is laid out.
#[derive(Debug)]
pub(super) struct Buffer {
    alignment: u64,
    /// Offset and size, by offset; the last one has no end.
    free: Vec<(u64, u64)>,
    /// Bytes that were ever in use.
    pub(super) size: u64,
}

impl Buffer {
    pub(super) fn new(alignment: u64) -> Self {
        Self { alignment, free: vec![(0, u64::MAX / 2)], size: 0 }
    }

    /// Takes a place and returns its offset.
    pub(super) fn take(&mut self, size: u64) -> u64 {
        let size = padded(size, self.alignment);
        let inner = self.free.len().saturating_sub(1);
        let mut best: Option<(usize, u64)> = None;
        for (at, (_, free)) in self.free.iter().take(inner).enumerate() {
            // The later of two that are alike, as there.
            if *free >= size && best.is_none_or(|(_, least)| *free <= least) {
                best = Some((at, *free));
            }
        }
        let at = best.map_or(inner, |(at, _)| at);
        let Some(block) = self.free.get_mut(at) else { return 0 };
        let offset = block.0;
        block.0 = block.0.saturating_add(size);
        block.1 = block.1.saturating_sub(size);
        if block.1 == 0 {
            self.free.remove(at);
        }
        self.size = self.size.max(offset.saturating_add(size));
        offset
    }

    /// Gives a place back.
    pub(super) fn give(&mut self, offset: u64, size: u64) {
        let size = padded(size, self.alignment);
        let end = offset.saturating_add(size);
        let at = self.free.partition_point(|(start, _)| *start < offset);
        let joins_before = at.checked_sub(1).is_some_and(|before| {
            self.free.get(before).is_some_and(|(start, size)| start.saturating_add(*size) == offset)
        });
        let joins_after = self.free.get(at).is_some_and(|(start, _)| *start == end);
        match (joins_before, joins_after) {
            (true, true) => {
                let (_, after) = self.free.remove(at);
                self.grow(at - 1, size.saturating_add(after));
            }
            (true, false) => self.grow(at - 1, size),
            (false, true) => {
                if let Some(block) = self.free.get_mut(at) {
                    *block = (offset, block.1.saturating_add(size));
                }
            }
            (false, false) => self.free.insert(at, (offset, size)),
        }
    }

    fn grow(&mut self, at: usize, size: u64) {
        if let Some(block) = self.free.get_mut(at) {
            block.1 = block.1.saturating_add(size);
        }
    }

    /// The second of two sizes and by how much it is smaller here, bytes; None where it is not.
    pub(super) fn saved(&self, from: u64, to: u64) -> Option<(u64, u64)> {
        let (from, to) = (padded(from, self.alignment), padded(to, self.alignment));
        (from > to).then(|| (to, from - to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_before_the_end() {
        let mut buffer = Buffer::new(128);
        let first = buffer.take(1000);
        let second = buffer.take(500);
        let third = buffer.take(300);
        assert_eq!((first, second, third), (0, 1024, 1536));
        buffer.give(first, 1000);
        buffer.give(second, 500);
        // Both are one block now, and what is too large for it goes to the end.
        assert_eq!((buffer.take(1536), buffer.take(128)), (0, 1920));
        assert_eq!(buffer.size, 2048);
    }

    #[test]
    fn the_smallest_block_that_is_large_enough_is_taken() {
        let mut buffer = Buffer::new(32);
        let places: Vec<u64> = [320, 32, 160, 32].into_iter().map(|size| buffer.take(size)).collect();
        buffer.give(places[0], 320);
        buffer.give(places[2], 160);
        assert_eq!(buffer.take(96), places[2]);
        assert_eq!(buffer.take(96), places[0]);
    }
}
