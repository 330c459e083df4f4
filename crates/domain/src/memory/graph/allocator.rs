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

    /// What a size takes: all sizes here are such ones.
    pub(super) fn padded(&self, size: u64) -> u64 {
        padded(size, self.alignment)
    }

    /// Takes a place and returns its offset.
    pub(super) fn take(&mut self, size: u64) -> u64 {
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

    /// Gives a place back (`ggml_dyn_tallocr_free_bytes`): it joins the first block that it touches, and then that one its
    /// neighbor. A place of no size becomes a block too, which may lie within another: the list is not always in order.
    pub(super) fn give(&mut self, offset: u64, size: u64) {
        let end = offset.saturating_add(size);
        let touches = |(start, size): &(u64, u64)| start.saturating_add(*size) == offset || *start == end;
        let Some(at) = self.free.iter().position(touches) else {
            let later = self.free.iter().position(|(start, _)| *start >= offset);
            return self.free.insert(later.unwrap_or(self.free.len()), (offset, size));
        };
        let Some(block) = self.free.get_mut(at) else { return };
        let is_behind = block.0.saturating_add(block.1) == offset;
        block.1 = block.1.saturating_add(size);
        if is_behind {
            self.join(at);
        } else {
            block.0 = offset;
            if let Some(before) = at.checked_sub(1) {
                self.join(before);
            }
        }
    }

    /// Makes one block of two, where the second begins at the end of the first.
    fn join(&mut self, first: usize) {
        let (Some(one), Some(next)) = (self.free.get(first).copied(), self.free.get(first + 1).copied())
        else {
            return;
        };
        if one.0.saturating_add(one.1) == next.0 {
            self.free.remove(first + 1);
            if let Some(block) = self.free.get_mut(first) {
                block.1 = one.1.saturating_add(next.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_before_the_end() {
        let mut buffer = Buffer::new(128);
        let sizes = [1000, 500, 300].map(|size| buffer.padded(size));
        let [first, second, third] = sizes.map(|size| buffer.take(size));
        assert_eq!((first, second, third), (0, 1024, 1536));
        buffer.give(first, sizes[0]);
        buffer.give(second, sizes[1]);
        // Both are one block now, and what is too large for it goes to the end.
        assert_eq!((buffer.take(1536), buffer.take(128)), (0, 1920));
        assert_eq!(buffer.size, 2048);
    }

    #[test]
    fn a_block_of_no_size_joins_what_begins_where_it_lies() {
        let mut buffer = Buffer::new(128);
        let places: Vec<u64> = [128, 0, 128, 128, 128].into_iter().map(|size| buffer.take(size)).collect();
        assert_eq!(places, [0, 128, 128, 256, 384]);
        buffer.give(128, 0);
        buffer.give(128, 128);
        buffer.give(256, 128);
        assert_eq!(buffer.take(256), 128);
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
