// measure MODEL.gguf [key=value ...]: prints the graph that llama.cpp reserves for the largest batch, and the bytes of its
// compute buffers. Loads no weights. Keys, and what stands for a missing one:
//   ngl=-1 (all) n_devices=1 ctx=0 (as trained) batch=2048 ubatch=512 n_seq_max=1 n_outputs_max=0 (as batch)
//   kv_unified=0 swa_full=0 flash_attn=auto|on|off ctk=f16 ctv=f16 cc=890 (compute capability times 100) log=0

#include "device.h"
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

static bool is_logged = false;

static void log_line(ggml_log_level level, const char * text, void *) {
    if (is_logged || level == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

static std::map<std::string, std::string> settings;

static std::string word(const char * key, const char * otherwise) {
    const auto it = settings.find(key);
    return it == settings.end() ? otherwise : it->second;
}

static int number(const char * key, int otherwise) {
    const std::string text = word(key, "");
    return text.empty() ? otherwise : text == "true" ? 1 : atoi(text.c_str());
}

static ggml_type type(const char * key) {
    const std::string name = word(key, "f16");
    for (int t = 0; t < GGML_TYPE_COUNT; t++) {
        const char * known = ggml_type_name((ggml_type) t);
        if (known && name == known) {
            return (ggml_type) t;
        }
    }
    fprintf(stderr, "%s=%s is no type of ggml\n", key, name.c_str());
    exit(2);
}

static llama_model * load(const char * path, const std::vector<ggml_backend_dev_t> & devices) {
    llama_model_params params = llama_model_default_params();
    params.devices = const_cast<ggml_backend_dev_t *>(devices.data());
    params.no_alloc = true;
    params.load_mode = LLAMA_LOAD_MODE_NONE;
    params.n_gpu_layers = number("ngl", -1);
    params.split_mode = LLAMA_SPLIT_MODE_LAYER;
    return llama_model_load_from_file(path, params);
}

static llama_context * reserve(llama_model * model) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = number("ctx", 0);
    params.n_batch = number("batch", 2048);
    params.n_ubatch = number("ubatch", 512);
    params.n_seq_max = number("n_seq_max", 1);
    params.n_outputs_max = number("n_outputs_max", 0);
    params.kv_unified = number("kv_unified", 0);
    params.swa_full = number("swa_full", 0);
    params.type_k = type("ctk");
    params.type_v = type("ctv");
    const std::string attention = word("flash_attn", "auto");
    params.flash_attn_type = attention == "on"    ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                             : attention == "off" ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                                  : LLAMA_FLASH_ATTN_TYPE_AUTO;
    return llama_init_from_model(model, params);
}

int main(int argc, char ** argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: measure MODEL.gguf [key=value ...]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        const std::string argument = argv[i];
        const size_t equals = argument.find('=');
        if (equals != std::string::npos) {
            settings[argument.substr(0, equals)] = argument.substr(equals + 1);
        }
    }
    is_logged = number("log", 0);
    planning_capability = number("cc", 890);
    llama_log_set(log_line, nullptr);
    const int count = number("n_devices", 1);
    planning_devices(count);
    llama_backend_init();
    std::vector<ggml_backend_dev_t> devices;
    for (int i = 0; i < count; i++) {
        devices.push_back(planning_device(i));
    }
    devices.push_back(nullptr);
    llama_model * model = load(argv[1], devices);
    // What was allocated is not freed: there is no memory behind the devices.
    const bool is_reserved = model && reserve(model);
    fflush(stdout);
    _Exit(is_reserved ? 0 : 1);
}
