#include <ATen/Parallel.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <unistd.h>

#include <sys/syscall.h>
#endif

#include "core/ops/kernels/bf16_products.hpp"
#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::kernels {

extern const Table table_baseline, table_scalar;
extern const Bf16Table bf16_table_scalar;
#if defined(__x86_64__)
extern const Table table_avx2, table_avx512;
extern const Bf16Table bf16_table_avx512, bf16_table_amx;
#endif

namespace {

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

/// Whether there are AMX tiles and Linux lets this process use them: their state is large, so that
/// it must be asked for.
bool may_use_amx() {
  constexpr unsigned kTile = 1u << 24, kBf16 = 1u << 22;  // of EDX in leaf 7
  // ARCH_REQ_XCOMP_PERM and XFEATURE_XTILEDATA of the kernel.
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  return (edx & kTile) != 0 && (edx & kBf16) != 0 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

std::vector<const Table*> runnable_tables() {
  std::vector<const Table*> tables;
#if defined(__x86_64__)
  if (has_avx512()) tables.push_back(&table_avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    tables.push_back(&table_avx2);
#endif
  tables.push_back(&table_baseline);
  tables.push_back(&table_scalar);
  return tables;
}

const Table& table() {
  static const Table& best = *runnable_tables().front();
  return best;
}

std::vector<const Bf16Table*> runnable_bf16_tables() {
  std::vector<const Bf16Table*> tables;
#if defined(__x86_64__)
  if (has_avx512() && __builtin_cpu_supports("avx512bf16")) {
    if (may_use_amx()) tables.push_back(&bf16_table_amx);
    tables.push_back(&bf16_table_avx512);
  }
#endif
  tables.push_back(&bf16_table_scalar);
  return tables;
}

const Bf16Table& bf16_table() {
  static const Bf16Table& best = *runnable_bf16_tables().front();
  return best;
}

void parallel_rows(int64_t rows, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, rows, grain, body);
}

}  // namespace lora_dist::kernels
