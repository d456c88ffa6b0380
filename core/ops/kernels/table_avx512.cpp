#define LORA_DIST_KERNELS_NAME table_avx512
#define LORA_DIST_KERNELS_LABEL "avx512"
#include "core/ops/kernels/kernels.inc"
