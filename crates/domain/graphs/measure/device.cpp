// A device that only plans: it answers the scheduler and the allocator as ggml-cuda does, by ggml-cuda's own code, and
// has neither kernels nor memory.

#include "ggml.h"
#include "ggml-impl.h"
#include "ggml-backend-impl.h"
#include "ggml-cpu.h"
#include "device.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#define FLASH_ATTN_AVAILABLE
#define GGML_CUDA_USE_CUB
#define MATRIX_ROW_PADDING 512
#define FATTN_KQ_STRIDE 256
#define QK_K 256
#define MOE_WEIGHTED_REDUCTION_MAX_EXPERTS 15
#define GGML_CUDA_CC_ADA_LOVELACE 890
#define GGML_CUDA_CC_VOLTA 700
#define GGML_CUDA_CC_TURING 750
#define GGML_CUDA_CC_IS_NVIDIA(cc) (true)

int planning_capability = 890;

static bool turing_mma_available(int cc) { return cc >= GGML_CUDA_CC_TURING; }
static bool volta_mma_available(int cc)  { return cc == GGML_CUDA_CC_VOLTA; }
static bool amd_mfma_available(int)      { return false; }
static bool amd_wmma_available(int)      { return false; }

struct planning_device_info { int cc = 890; bool integrated = false; size_t smpb = 49152; };
struct planning_info { planning_device_info devices[16]; };
static const planning_info & ggml_cuda_info() {
    static planning_info i;
    for (auto & d : i.devices) { d.cc = planning_capability; }
    return i;
}

struct ggml_backend_cuda_device_context {
    int device; std::string name; std::string desc; int op_offload_min_batch_size = 32;
    size_t free = 0, total = 0;
};
struct ggml_backend_cuda_buffer_type_context { int device; std::string name; };

static const char * buft_name(ggml_backend_buffer_type_t b) {
    return ((ggml_backend_cuda_buffer_type_context *) b->context)->name.c_str();
}
static bool ggml_backend_buft_is_cuda(ggml_backend_buffer_type_t b) { return b->iface.get_name == buft_name; }
static const char * host_name(ggml_backend_buffer_type_t) { return "CUDA_Host"; }
static bool ggml_backend_buft_is_cuda_host(ggml_backend_buffer_type_t b) { return b->iface.get_name == host_name; }

#include "cuda_rules.inc"

// ---- buffers: addresses that nothing ever touches
static void   buf_free(ggml_backend_buffer_t) {}
static void * buf_base(ggml_backend_buffer_t b) { return b->context; }
static void   buf_memset(ggml_backend_buffer_t, ggml_tensor *, uint8_t, size_t, size_t) {}
static void   buf_set(ggml_backend_buffer_t, ggml_tensor *, const void *, size_t, size_t) {}
static void   buf_get(ggml_backend_buffer_t, const ggml_tensor *, void * d, size_t, size_t n) { memset(d, 0, n); }
static void   buf_clear(ggml_backend_buffer_t, uint8_t) {}
static const ggml_backend_buffer_i buf_i = { buf_free, buf_base, NULL, buf_memset, buf_set, buf_get, NULL, NULL, NULL, buf_clear, NULL };
static ggml_backend_buffer_t buft_alloc(ggml_backend_buffer_type_t t, size_t n) {
    static uintptr_t next = 0x100000000000ull;
    void * p = (void *) next; next += (n + 0x1fffff) & ~(uintptr_t) 0xfffff;
    return ggml_backend_buffer_init(t, buf_i, p, n);
}
static size_t buft_align(ggml_backend_buffer_type_t) { return 128; }
static ggml_backend_buffer_t host_alloc(ggml_backend_buffer_type_t t, size_t n) {
    ggml_backend_buffer_t b = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), n);
    if (b) { b->buft = t; }
    return b;
}

// ---- devices
static ggml_backend_reg g_reg;
static std::vector<ggml_backend_device> g_dev;
static std::vector<ggml_backend_buffer_type> g_buft;
static ggml_backend_buffer_type g_host;

static ggml_backend_cuda_device_context * C(ggml_backend_dev_t d) {
    return (ggml_backend_cuda_device_context *) d->context;
}
static const char * dev_name(ggml_backend_dev_t d) { return C(d)->name.c_str(); }
static const char * dev_desc(ggml_backend_dev_t d) { return C(d)->desc.c_str(); }
static void dev_mem(ggml_backend_dev_t d, size_t * f, size_t * t) { *f = C(d)->free; *t = C(d)->total; }
static enum ggml_backend_dev_type dev_type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }
static void dev_props(ggml_backend_dev_t d, ggml_backend_dev_props * p) {
    memset((void *) p, 0, sizeof(*p));
    p->name = dev_name(d);
    p->description = dev_desc(d);
    p->type = GGML_BACKEND_DEVICE_TYPE_GPU;
    p->device_id = nullptr;
    dev_mem(d, &p->memory_free, &p->memory_total);
    p->caps.async = true;
    p->caps.host_buffer = true;
    p->caps.buffer_from_host_ptr = false;
    p->caps.events = true;
    p->caps.mmap_support = true;
}
static const char * be_name(ggml_backend_t b) { return dev_name(b->device); }
static void be_free(ggml_backend_t b) { delete b; }
static void be_sync(ggml_backend_t) {}
static enum ggml_status be_compute(ggml_backend_t, ggml_cgraph *) { return GGML_STATUS_SUCCESS; }
static void be_evrec(ggml_backend_t, ggml_backend_event_t) {}
static void be_evwait(ggml_backend_t, ggml_backend_event_t) {}
static void be_opt(ggml_backend_t b, ggml_cgraph * g, ggml_backend_graph_optimize_params * p) {
    ggml_backend_cuda_graph_optimize(b, g, p);
}
static void be_seta(ggml_backend_t, ggml_tensor *, const void *, size_t, size_t) {}
static void be_geta(ggml_backend_t, const ggml_tensor *, void *, size_t, size_t) {}
static ggml_guid g_guid = { 0xfa, 0x4e, 3 };
static ggml_backend_t dev_init(ggml_backend_dev_t d, const char *) {
    ggml_backend_i i = {};
    i.get_name = be_name;
    i.free = be_free;
    i.set_tensor_async = be_seta;
    i.get_tensor_async = be_geta;
    i.synchronize = be_sync;
    i.graph_compute = be_compute;
    i.event_record = be_evrec;
    i.event_wait = be_evwait;
    i.graph_optimize = be_opt;
    return new ggml_backend { &g_guid, i, d, nullptr };
}
static ggml_backend_buffer_type_t dev_buft(ggml_backend_dev_t d) { return &g_buft[C(d)->device]; }
static ggml_backend_buffer_type_t dev_host(ggml_backend_dev_t) { return &g_host; }
static ggml_backend_event_t ev_new(ggml_backend_dev_t d) { return new ggml_backend_event { d, nullptr }; }
static void ev_free(ggml_backend_dev_t, ggml_backend_event_t e) { delete e; }
static void ev_sync(ggml_backend_dev_t, ggml_backend_event_t) {}

static const char * reg_name(ggml_backend_reg_t) { return "CUDA"; }
static size_t reg_count(ggml_backend_reg_t) { return g_dev.size(); }
static ggml_backend_dev_t reg_dev(ggml_backend_reg_t, size_t i) { return &g_dev[i]; }
static void * reg_proc(ggml_backend_reg_t, const char *) { return nullptr; }

void planning_devices(int n) {
    g_reg.api_version = GGML_BACKEND_API_VERSION;
    g_reg.iface = { reg_name, reg_count, reg_dev, reg_proc };
    g_dev.resize(n); g_buft.resize(n);
    for (int i = 0; i < n; i++) {
        auto * c = new ggml_backend_cuda_device_context;
        c->device = i;
        c->name = "CUDA" + std::to_string(i);
        c->desc = "planning device";
        c->free = c->total = (size_t) 1 << 40;
        ggml_backend_device_i di = {};
        di.get_name = dev_name;
        di.get_description = dev_desc;
        di.get_memory = dev_mem;
        di.get_type = dev_type;
        di.get_props = dev_props;
        di.init_backend = dev_init;
        di.get_buffer_type = dev_buft;
        di.get_host_buffer_type = dev_host;
        di.buffer_from_host_ptr = nullptr;
        di.supports_op = ggml_backend_cuda_device_supports_op;
        di.supports_buft = ggml_backend_cuda_device_supports_buft;
        di.offload_op = ggml_backend_cuda_device_offload_op;
        di.event_new = ev_new; di.event_free = ev_free; di.event_synchronize = ev_sync;
        g_dev[i] = { di, &g_reg, c };
        g_buft[i] = { { buft_name, buft_alloc, buft_align, NULL, ggml_backend_cuda_buffer_type_get_alloc_size,
            NULL }, &g_dev[i], new ggml_backend_cuda_buffer_type_context { i, c->name } };
    }
    auto * cb = ggml_backend_cpu_buffer_type();
    g_host = { { host_name, host_alloc, cb->iface.get_alignment, NULL, cb->iface.get_alloc_size, cb->iface.is_host },
        &g_dev[0], nullptr };
    ggml_backend_register(&g_reg);
}
ggml_backend_dev_t planning_device(int i) { return &g_dev[i]; }
