#!/usr/bin/env python3
"""Cuts out of ggml-cuda what decides and computes nothing: which operations a card computes, with which kernel, how
many bytes it asks for, what it fuses. cut.py LLAMA_CPP_SOURCES > cuda_rules.inc"""

import sys
from pathlib import Path

FOLDER = Path(sys.argv[1]) / "ggml/src/ggml-cuda"

# Flash attention for vectors: what is compiled for a cache by default (GGML_CUDA_FA_QUANTS in ggml/CMakeLists.txt).
VECTOR_KERNELS = """static bool has_vector_kernel(int64_t d, ggml_type k, ggml_type v) {
    if (k == GGML_TYPE_F32) k = GGML_TYPE_F16;
    if (v == GGML_TYPE_F32) v = GGML_TYPE_F16;
    const bool is_compiled = k == GGML_TYPE_F16 || k == GGML_TYPE_BF16 || k == GGML_TYPE_Q4_0 || k == GGML_TYPE_Q8_0;
    return (d == 64 || d == 128 || d == 256) && k == v && is_compiled;
}
static const void * ggml_cuda_get_fattn_vec_case(const int64_t d, const ggml_type k, const ggml_type v) {
    return has_vector_kernel(d, k, v) ? (const void *) 1 : nullptr;
}

"""

# In order: file, first words of the definition; for one whose end only runs kernels, the words before which it is cut.
PARTS = [
    ("topk-moe.cuh", "struct ggml_cuda_topk_moe_args"),
    ("topk-moe.cu", "bool ggml_cuda_should_use_topk_moe"),
    ("ggml-cuda.cu", "static bool ggml_cuda_topk_moe_fusion"),
    ("ggml-cuda.cu", "struct ggml_cuda_moe_weighted_reduction_match"),
    ("ggml-cuda.cu", "static bool ggml_cuda_match_moe_weighted_reduction"),
    ("ggml-cuda.cu", "static void ggml_backend_cuda_graph_optimize", "#ifdef USE_CUDA_GRAPH"),
    ("fattn-mma-f16.cuh", "static constexpr __host__ __device__ bool ggml_cuda_flash_attn_ext_mma_f16_may_use_sparse"),
    ("fattn.cu", "bool ggml_cuda_flash_attn_ext_mma_f16_shall_use_sparse"),
    ("fattn-common.cuh", "struct ggml_cuda_flash_attn_ext_f16_extra_data"),
    ("fattn-common.cuh", "static inline ggml_cuda_flash_attn_ext_f16_extra_data ggml_cuda_flash_attn_ext_get_f16_extra_data"),
    VECTOR_KERNELS,
    ("fattn.cu", "enum best_fattn_kernel"),
    ("fattn.cu", "static bool ggml_cuda_fattn_kv_type_supported"),
    ("fattn.cu", "static best_fattn_kernel ggml_cuda_get_best_fattn_kernel"),
    ("fattn.cu", "size_t ggml_cuda_flash_attn_ext_get_alloc_size"),
    ("fattn.cu", "bool ggml_cuda_flash_attn_ext_supported"),
    ("fwht.cu", "bool ggml_cuda_op_mul_mat_use_fwht"),
    ("lightning-indexer.cu", "bool ggml_cuda_lightning_indexer_supported"),
    ("ggml-cuda.cu", "static bool ggml_backend_cuda_device_supports_op"),
    ("ggml-cuda.cu", "static bool ggml_backend_cuda_device_supports_buft"),
    ("ggml-cuda.cu", "static int64_t get_op_batch_size"),
    ("ggml-cuda.cu", "static bool ggml_backend_cuda_device_offload_op"),
    ("ggml-cuda.cu", "static size_t ggml_backend_cuda_buffer_type_get_alloc_size"),
]


def cut(name, start, end=None):
    """A definition, from its first line to the brace that closes it at the margin."""
    lines = (FOLDER / name).read_text().split("\n")
    first = next((at for at, line in enumerate(lines) if line.startswith(start)), None)
    if first is None:
        sys.exit(f"{name} has no `{start}`: this llama.cpp is another one; adapt the list in cut.py and device.cpp")
    ends = ("}", "};") if end is None else (end,)
    last = next(at for at in range(first, len(lines)) if lines[at] in ends)
    text = "\n".join(lines[first:last] + ["}" if end else lines[last]]).replace("__host__ __device__ ", "")
    if start.startswith(("bool ", "size_t ")):
        text = "static " + text
    context = "    ggml_backend_cuda_context * cuda_ctx = (ggml_backend_cuda_context *) backend->context;\n"
    return f"// {name}:{first + 1}\n" + text.replace(context, "    GGML_UNUSED(backend);\n") + "\n\n"


for part in PARTS:
    sys.stdout.write(part if isinstance(part, str) else cut(*part))
