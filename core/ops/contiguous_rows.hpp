#pragma once

namespace lora_dist::ops {

/// x (rows, columns) as kernels read it: rows may be strided, the elements of one lie side by side.
inline at::Tensor with_contiguous_rows(const at::Tensor& x) {
  return x.stride(1) == 1 ? x : x.contiguous();
}

}  // namespace lora_dist::ops
