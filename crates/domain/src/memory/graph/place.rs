//! Where layers are, and what is near them.

use super::template::Whose;

/// Where a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) layer: u8,
    pub(super) experts: u8,
}

/// Where a segment is laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) place: Place,
    /// The layer before it, and the first one.
    pub(super) before: Place,
    pub(super) first: Place,
    pub(super) output: Place,
    /// The last layers with a cache: a full one, and a windowed one.
    pub(super) full: Place,
    pub(super) windowed: Place,
    pub(super) is_windowed: bool,
    /// Of its first number.
    pub(super) start: usize,
    /// Before all layers.
    pub(super) is_start: bool,
}

impl At {
    pub(super) fn new(backend: u8, output: u8) -> Self {
        let place = Place { layer: backend, experts: backend };
        Self {
            place,
            before: place,
            first: place,
            output: Place { layer: output, experts: output },
            full: place,
            windowed: place,
            is_windowed: false,
            start: 0,
            is_start: false,
        }
    }

    /// Where what belongs to one of the layers is.
    pub(super) fn of(&self, whose: Whose) -> Place {
        match whose {
            Whose::Layer | Whose::Model => self.place,
            Whose::LayerBefore => self.before,
            Whose::First => self.first,
            Whose::Output => self.output,
        }
    }

    /// Where the cache is that the layer reads.
    pub(super) fn cache(&self, is_own: bool) -> u8 {
        match (is_own, self.is_windowed) {
            (true, _) => self.place.layer,
            (false, true) => self.windowed.layer,
            (false, false) => self.full.layer,
        }
    }
}
