#include "core/ops/flash_attention.hpp"

#include <mutex>

#include <ATen/Context.h>

#include "core/ops/cuda/rows.hpp"

namespace lora_dist::ops::flash {
namespace {

// The backward adds gradients of queries with atomics unless LibTorch's switch is on, one for the
// process. "Warn only" leaves this kernel as it is, and without that other operations refuse to
// run; so the switch is on just while the backward is queued. Ranks may be threads: one at a time.
// Fresh memory would be filled meanwhile, all of which the kernels write.
class OneOrderOfSums {
 public:
  explicit OneOrderOfSums(bool wanted) {
    if (!wanted) return;
    static std::mutex mutex;
    lock_ = std::unique_lock(mutex);
    at::Context& context = at::globalContext();
    was_on_ = context.deterministicAlgorithms();
    was_warning_ = context.deterministicAlgorithmsWarnOnly();
    was_filling_ = context.deterministicFillUninitializedMemory();
    context.setDeterministicFillUninitializedMemory(false);
    context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  }
  ~OneOrderOfSums() {
    if (!lock_.owns_lock()) return;
    at::globalContext().setDeterministicAlgorithms(was_on_, was_warning_);
    at::globalContext().setDeterministicFillUninitializedMemory(was_filling_);
  }
  OneOrderOfSums(const OneOrderOfSums&) = delete;
  OneOrderOfSums& operator=(const OneOrderOfSums&) = delete;

 private:
  std::unique_lock<std::mutex> lock_;
  bool was_on_ = false, was_warning_ = false, was_filling_ = false;
};

/// The kernels load 16 bytes at once.
bool lies_in_16_bytes(const at::Tensor& x_BTNH) {
  for (int64_t dim = 0; dim < 3; ++dim) {
    if (x_BTNH.stride(dim) % 8 != 0) return false;
  }
  return x_BTNH.stride(3) == 1 && reinterpret_cast<uintptr_t>(x_BTNH.const_data_ptr()) % 16 == 0;
}

/// How the kernels are told what to compute.
struct Problem {
  explicit Problem(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                   const AttentionOptions& options)
      : packed(options.starts_BT.defined()),
        longest_q(packed ? options.samples.longest : q_BTNH.size(1)),
        longest_k(packed ? options.samples.longest : k_BSKH.size(1)),
        first_rows(options.samples.first_rows) {
    // The key `window` places back is the first one that is not seen.
    if (options.window > 0) keys_before = options.window - 1;
  }

  /// Packed rows are one long row of sequences: (B * T, N, H).
  at::Tensor rows(const at::Tensor& x_BTNH) const { return packed ? x_BTNH.flatten(0, 1) : x_BTNH; }
  at::Tensor unrows(const at::Tensor& x, const at::Tensor& like_BTNH) const {
    return x.view(like_BTNH.sizes());
  }

  bool packed;
  int64_t longest_q, longest_k;
  at::Tensor first_rows;  // undefined: one sequence per row
  std::optional<int64_t> keys_before;
};

}  // namespace

bool can_run(at::ScalarType dtype, int64_t head_dim, double softcap, int capability) {
  const bool is_half = dtype == at::kBFloat16 || dtype == at::kHalf;
  // Between 192 and 256 the backward needs more shared memory than consumer cards have.
  const bool fits = head_dim % 8 == 0 && (head_dim <= 192 || head_dim == 256);
  return is_half && fits && softcap == 0 && capability >= 80;
}

bool runs(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH, const at::Tensor& v_BSKH,
          const AttentionOptions& options) {
  if (!can_run(q_BTNH.scalar_type(), q_BTNH.size(3), options.softcap,
               cuda::compute_capability(q_BTNH.device())))
    return false;
  if (options.starts_BT.defined() && !options.samples.first_rows.defined()) return false;
  return lies_in_16_bytes(q_BTNH) && lies_in_16_bytes(k_BSKH) && lies_in_16_bytes(v_BSKH);
}

AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options) {
  const Problem problem(q_BTNH, k_BSKH, options);
  std::optional<at::Tensor> first_rows;
  if (problem.packed) first_rows = problem.first_rows;
  const auto [out, log_sum, rng_state, unused, mask] = at::_flash_attention_forward(
      problem.rows(q_BTNH), problem.rows(k_BSKH), problem.rows(v_BSKH), first_rows, first_rows,
      problem.longest_q, problem.longest_k, /*dropout_p=*/0, /*is_causal=*/true,
      /*return_debug_mask=*/false, options.scale, problem.keys_before);
  return {problem.unrows(out, q_BTNH), log_sum, rng_state, unused};
}

AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options) {
  const Problem problem(q_BTNH, k_BTKH, options);
  const OneOrderOfSums one_order(options.deterministic);
  const auto [dq, dk, dv] = at::_flash_attention_backward(
      problem.rows(dout_BTNH), problem.rows(q_BTNH), problem.rows(k_BTKH), problem.rows(v_BTKH),
      problem.rows(forward.out_BTNH), forward.log_sum_BNT, problem.first_rows, problem.first_rows,
      problem.longest_q, problem.longest_k, /*dropout_p=*/0, /*is_causal=*/true, forward.rng_state,
      forward.unused, options.scale, problem.keys_before);
  return {problem.unrows(dq, q_BTNH), problem.unrows(dk, k_BTKH), problem.unrows(dv, v_BTKH)};
}

}  // namespace lora_dist::ops::flash
