// The reference of the others, for any processor.
#include "core/ops/kernels/bf16_packing.inc"

namespace lora_dist::kernels {
namespace {

void product(const Bf16Product& product) {
  for (int64_t row = 0; row < product.m; ++row) {
    for (int64_t column = 0; column < product.n; ++column) {
      const uint16_t* a = product.a + row * product.a_row;
      const uint32_t* b =
          product.b + column / kPanelColumns * product.b_panel_words + column % kPanelColumns;
      float* c = product.c + row * product.c_row + column;
      float sum = product.accumulate ? *c : 0;
      for (int64_t k = 0; k < product.k; k += 2, b += kPanelColumns) {
        sum += widened(a[k]) * widened(static_cast<uint16_t>(*b));
        sum += widened(a[k + 1]) * widened(static_cast<uint16_t>(*b >> 16));
      }
      *c = sum;
    }
  }
}

}  // namespace

extern const Bf16Table bf16_table_scalar;
const Bf16Table bf16_table_scalar = {"scalar",     product,   pack_rows,
                                     pack_columns, transpose, round_rows};

}  // namespace lora_dist::kernels
