#define LORA_DIST_KERNELS_NAME table_avx2
#define LORA_DIST_KERNELS_LABEL "avx2"
#include "core/ops/kernels/kernels.inc"
