#pragma once
#include "ggml-backend.h"

// Compute capability times 100 (8.9 is 890): it decides which kernels for flash attention there are.
extern int planning_capability;

void planning_devices(int count);
ggml_backend_dev_t planning_device(int number);
