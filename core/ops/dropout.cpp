#include "core/ops/dropout.hpp"

#include "core/base/trace.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist::ops {

Dropout::Dropout(const at::Tensor& like_NI, double p, const DropoutStream& stream)
    : p_(p), stream_(stream) {
  if (!like_NI.is_cpu()) return;
  const trace::Span span("draw dropout");
  const int64_t rows = like_NI.size(0), width = like_NI.size(1);
  if (stream.step_and_slot) {
    stream_.step = stream.step_and_slot[0];
    stream_.slot = stream.step_and_slot[1];
  }
  kept_NW_ = at::empty({rows, kernels::words_of_kept(width)}, at::kInt);
  auto* kept = reinterpret_cast<uint32_t*>(kept_NW_.data_ptr<int32_t>());
  kernels::parallel_rows(rows, /*grain=*/16, [&](int64_t first, int64_t last) {
    kernels::table().draw_kept(kept, static_cast<float>(p_), stream_, first, last, width);
  });
}

at::Tensor Dropout::of(const at::Tensor& x_NI) const {
  if (!kept_NW_.defined()) return ops::dropout(x_NI, p_, stream_);
  const at::Tensor x = x_NI.contiguous(), y = at::empty_like(x);
  const kernels::Element element = element_of(x);
  const int64_t row_bytes = x.size(1) * x.element_size();
  kernels::parallel_rows(x.size(0), /*grain=*/16, [&](int64_t first, int64_t last) {
    take({first, 0, last - first, x.size(1)}, element,
         static_cast<const char*>(x.const_data_ptr()) + first * row_bytes, x.size(1), element,
         static_cast<char*>(y.data_ptr()) + first * row_bytes, x.size(1));
  });
  return y;
}

void Dropout::take(const Part& part, kernels::Element x_element, const void* x, int64_t x_row,
                   kernels::Element y_element, void* y, int64_t y_row, double scale,
                   bool accumulate) const {
  const int64_t num_words = kept_NW_.size(1);
  kernels::table().take_kept(
      {.x_element = x_element,
       .x = x,
       .x_row = x_row,
       .y_element = y_element,
       .y = y,
       .y_row = y_row,
       .kept = reinterpret_cast<const uint32_t*>(kept_NW_.const_data_ptr<int32_t>()) +
               part.row * num_words + part.column / 32,
       .kept_row = num_words,
       .scale = static_cast<float>(scale) / (1.0f - static_cast<float>(p_)),
       .accumulate = accumulate,
       .rows = part.rows,
       .columns = part.columns});
}

}  // namespace lora_dist::ops
