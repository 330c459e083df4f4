//! KV cache and recurrent state (src/llama-kv-cache.cpp, llama-kv-cache-iswa.cpp, llama-memory-recurrent.cpp).

use super::{
    Backend, Breakdown, CacheType, FlashAttention, Settings, Shape,
    kept::Kept,
    product,
    settings::{Cells, Split},
    shape::Kind,
};

use std::ops::Range;

/// Recurrent state is always F32.
const STATE: u64 = 4;

pub(super) fn add(
    breakdown: &mut Breakdown,
    shape: &Shape,
    split: &Split,
    settings: &Settings,
    devices: &[Backend],
) {
    let on_devices = if settings.kv_offload { devices } else { &[] };
    for (device, (charge, place)) in breakdown.devices.iter_mut().zip(on_devices).enumerate() {
        charge.context = of_layers(shape, &split.layers(device), settings, *place);
    }
    let elsewhere = if on_devices.is_empty() { shape.layers } else { split.first };
    breakdown.host.context = of_layers(shape, &(0..elsewhere), settings, Backend::HOST);
}

/// What some of the layers keep, in one place.
pub(super) fn of_layers(shape: &Shape, layers: &Range<u64>, settings: &Settings, place: Backend) -> u64 {
    super::sum(shape.kinds.iter().map(|kind| match kind.count(layers) {
        0 => 0,
        count => of_block(&kind.block, shape, settings, place).saturating_mul(count),
    }))
}

/// What `--ctx-checkpoints` copies of one sequence (tools/server/server-context.cpp): all but the full caches.
pub(super) fn checkpoint(shape: &Shape, settings: &Settings) -> u64 {
    let of_one = Settings { parallel: 1, kv_unified: false, ctx: settings.ctx_per_slot(), ..*settings };
    let kinds = shape.kinds.iter().filter(|kind| kind.block.is_windowed || kind.block.recurrent > 0);
    let partial = kinds.map(|kind| {
        let block = &kind.block;
        let windows = block.is_windowed && !settings.swa_full;
        let bytes =
            if windows { of_block(block, shape, &of_one, Backend::HOST) } else { state(block, &of_one) };
        bytes.saturating_mul(kind.count(&(0..shape.layers)))
    });
    super::sum(partial)
}

/// Keys and values of one layer, and its recurrent state.
pub(super) fn of_kind(shape: &Shape, kind: &Kind, settings: &Settings, place: Backend) -> (u64, u64) {
    (caches(&kind.block, shape, settings, place), state(&kind.block, settings))
}

fn of_block(block: &Kept, shape: &Shape, settings: &Settings, place: Backend) -> u64 {
    caches(block, shape, settings, place).saturating_add(state(block, settings))
}

fn state(block: &Kept, settings: &Settings) -> u64 {
    product([block.recurrent, STATE, settings.parallel.max(1)])
}

fn caches(block: &Kept, shape: &Shape, settings: &Settings, place: Backend) -> u64 {
    let window = shape.window.filter(|_| block.is_windowed);
    let own = settings.own_cells(None);
    let (cells, compressed, index) = match block.compression {
        Some(ratio) => {
            let compressed = own.compressed(ratio);
            (settings.own_cells(window), compressed, compressed)
        }
        None => (settings.windowed_cells(window), own.compressed(0), settings.cells()),
    };
    let cache = |elements: u64, kind: CacheType, cells: Cells| {
        if elements == 0 || cells.all() == 0 {
            0
        } else {
            place.cache(elements, kind.row_size(elements), cells.all(), kind.is_quantized())
        }
    };
    // Without flash attention values are transposed, and rows of all layers as wide (`TAG_V_CACHE_VARIABLE`).
    let is_padded = block.is_cached && settings.flash_attn == FlashAttention::Off;
    let values = if is_padded { shape.widths.values } else { block.values };
    super::sum([
        cache(block.keys, settings.cache_type_k, cells),
        cache(values, settings.cache_type_v, cells),
        cache(block.keys, settings.cache_type_k, compressed),
        cache(block.index.0, settings.cache_type_k, index),
        cache(block.index.1, settings.cache_type_v, index),
    ])
}
