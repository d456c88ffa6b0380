// What every processor of the architecture has: NEON on AArch64, SSE2 on x86-64.
#define LORA_DIST_KERNELS_NAME table_baseline
#if defined(__aarch64__)
#define LORA_DIST_KERNELS_LABEL "neon"
#else
#define LORA_DIST_KERNELS_LABEL "baseline"
#endif
#include "core/ops/kernels/kernels.inc"
