// The reference of the others: no vectors, sums in the order that is written.
#define LORA_DIST_KERNELS_NAME table_scalar
#define LORA_DIST_KERNELS_LABEL "scalar"
#define LORA_DIST_KERNELS_VECTOR 1  // floats
#include "core/ops/kernels/kernels.inc"
