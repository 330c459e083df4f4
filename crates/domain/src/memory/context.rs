//! KV cache and recurrent state (src/llama-kv-cache.cpp, llama-kv-cache-iswa.cpp, llama-memory-recurrent.cpp).

use super::{
    Backend, Breakdown, CacheType, Settings, Shape, product,
    settings::{Cells, Split},
    shape::Block,
};

/// Recurrent state is always F32.
const STATE: u64 = 4;

pub(super) fn add(
    breakdown: &mut Breakdown,
    shape: &Shape,
    split: &Split,
    settings: &Settings,
    device: Option<Backend>,
) {
    for (layer, block) in (0..).zip(&shape.blocks) {
        let device = device.filter(|_| layer >= split.first && settings.kv_offload);
        let bytes = of_block(block, shape.window, split.cells, settings, device.unwrap_or(Backend::HOST));
        let place = if device.is_some() { &mut breakdown.device } else { &mut breakdown.host };
        place.context = place.context.saturating_add(bytes);
    }
}

/// What `--ctx-checkpoints` copies of one sequence (tools/server/server-context.cpp): all but the full caches.
pub(super) fn checkpoint(shape: &Shape, settings: &Settings) -> u64 {
    let of_one = Settings { parallel: 1, kv_unified: false, ctx: settings.ctx_per_slot(), ..*settings };
    let partial = shape.blocks.iter().filter(|block| block.is_windowed || block.recurrent > 0).map(|block| {
        let state = product([block.recurrent, STATE]);
        let windows = block.is_windowed && !settings.swa_full;
        if windows { of_block(block, shape.window, of_one.cells(), &of_one, Backend::HOST) } else { state }
    });
    super::sum(partial)
}

fn of_block(block: &Block, window: Option<u64>, cells: Cells, settings: &Settings, place: Backend) -> u64 {
    let cells = match window.filter(|_| block.is_windowed) {
        Some(window) => settings.windowed_cells(window),
        None => cells,
    };
    let cache = |elements: u64, kind: CacheType| {
        if elements == 0 {
            0
        } else {
            place.cache(elements, kind.row_size(elements), cells.all(), kind.is_quantized())
        }
    };
    let state = product([block.recurrent, STATE, settings.parallel.max(1)]);
    cache(block.keys, settings.cache_type_k)
        .saturating_add(cache(block.values, settings.cache_type_v))
        .saturating_add(state)
}
