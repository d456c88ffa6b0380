#define LORA_DIST_KERNELS_NAME table_baseline
#define LORA_DIST_KERNELS_LABEL "baseline"
#include "core/ops/kernels/kernels.inc"
