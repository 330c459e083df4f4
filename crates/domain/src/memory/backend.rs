//! How backends size a tensor's memory.

use super::{FlashAttention, Shape, matrix::Matrix, padded};

/// Rules of a device's buffer type (`get_alignment` and `get_alloc_size` in ggml).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Every tensor starts at a multiple of this many bytes.
    alignment: u64,
    /// Rows of quantized tensors are read up to a multiple of this many elements; the last one is padded.
    row_padding: Option<u64>,
    /// Flash attention has kernels for some sizes of heads only.
    has_few_heads: bool,
    /// Compute buffers were measured there, with this build of the engine.
    pub(super) is_measured: bool,
    pub(super) is_other_build: bool,
}

/// `TENSOR_ALIGNMENT` of ggml's CPU buffers, pinned ones as well.
const HOST_ALIGNMENT: u64 = 32;

impl Backend {
    /// ggml-cuda.cu: alignment 128, `MATRIX_ROW_PADDING` 512.
    pub const CUDA: Self = Self {
        alignment: 128,
        row_padding: Some(512),
        has_few_heads: true,
        is_measured: true,
        is_other_build: false,
    };
    /// ROCm and MUSA are built from the same source.
    const LIKE_CUDA: Self = Self { is_measured: false, ..Self::CUDA };
    /// ggml-vulkan.cpp: `minStorageBufferOffsetAlignment`, which is 256 at most by the Vulkan specification.
    pub const VULKAN: Self = Self {
        alignment: 256,
        row_padding: None,
        has_few_heads: false,
        is_measured: false,
        is_other_build: false,
    };
    pub(super) const HOST: Self = Self { alignment: HOST_ALIGNMENT, ..Self::VULKAN };

    /// By the name that llama.cpp gives a device without its number: `CUDA`, `ROCm`, `Vulkan`, `SYCL`, …
    pub fn named(name: &str) -> Self {
        match name {
            "CUDA" => Self::CUDA,
            "ROCm" | "MUSA" => Self::LIKE_CUDA,
            _ => Self::VULKAN,
        }
    }

    /// Of another build of the engine than that which was measured, or of that one.
    #[must_use]
    pub fn of_build(self, is_other: bool) -> Self {
        Self { is_measured: self.is_measured && !is_other, is_other_build: is_other, ..self }
    }

    /// Whether heads of so many elements have a kernel for flash attention: ggml-cuda/fattn.cu has a list
    /// (`ggml_cuda_get_best_fattn_kernel`), Vulkan's and the processor's take what is a multiple of 8.
    pub(super) fn has_flash_kernel(self, shape: &Shape) -> bool {
        let head = shape.head();
        if !self.has_few_heads {
            return head > 0 && head.is_multiple_of(8);
        }
        let value = shape.value();
        let share =
            |least: u64| shape.heads_of_one_key(head).all(|heads| heads > 0 && heads.is_multiple_of(least));
        match head {
            40 | 64 | 72 | 80 | 96 | 112 | 128 | 256 => value == head,
            192 => value == 128 && share(8),
            320 => value == 256 && share(32),
            512 | 576 => value == 512 && shape.heads_of_one_key(head).all(|heads| heads > 1),
            _ => false,
        }
    }

    /// Flash attention as it will be: on wherever it can be.
    pub(super) fn flash_attention(self, shape: &Shape) -> FlashAttention {
        let is_on = shape.has_cache() && self.has_flash_kernel(shape);
        if is_on { FlashAttention::On } else { FlashAttention::Off }
    }

    pub(super) fn alignment(self) -> u64 {
        self.alignment
    }

    /// Whether flash attention makes F16 copies of a quantized cache.
    pub(super) fn unpacks(self) -> bool {
        self.has_few_heads
    }

    /// Elements that the last row of a quantized tensor lacks.
    pub(super) fn missing(self, row: u64) -> u64 {
        let over = self.row_padding.and_then(|padding| Some((padding, row.checked_rem(padding)?)));
        over.filter(|(_, over)| *over > 0).map_or(0, |(padding, over)| padding - over)
    }

    /// Whether it computes one batch while the next is prepared.
    pub(super) fn is_asynchronous(self) -> bool {
        self.has_few_heads
    }

    pub(super) fn size(self, matrix: &Matrix) -> u64 {
        padded(
            matrix.size.saturating_add(self.row_end(matrix.row, matrix.row_size, matrix.is_quantized)),
            self.alignment,
        )
    }

    /// Returns the bytes of a KV cache of rows of `row` elements.
    pub(super) fn cache(self, row: u64, row_size: u64, rows: u64, is_quantized: bool) -> u64 {
        let size = row_size.saturating_mul(rows).saturating_add(self.row_end(row, row_size, is_quantized));
        padded(size, self.alignment)
    }

    /// The padding of the last row, bytes.
    fn row_end(self, row: u64, row_size: u64, is_quantized: bool) -> u64 {
        let missing = if is_quantized { self.missing(row) } else { 0 };
        row_size.saturating_mul(missing).checked_div(row).unwrap_or(0)
    }
}
