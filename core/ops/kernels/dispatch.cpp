#include <ATen/Parallel.h>

#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::kernels {

extern const Table table_baseline, table_scalar;
#if defined(__x86_64__)
extern const Table table_avx2, table_avx512;
#endif

std::vector<const Table*> runnable_tables() {
  std::vector<const Table*> tables;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    tables.push_back(&table_avx512);
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

void parallel_rows(int64_t rows, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, rows, grain, body);
}

}  // namespace lora_dist::kernels
