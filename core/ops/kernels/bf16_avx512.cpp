// AVX512-BF16: a tile of c stays in registers, rows of two vectors, while k runs in pairs.
#include <immintrin.h>

#include <array>

#include "core/ops/kernels/bf16_packing.inc"

namespace lora_dist::kernels {
namespace {

constexpr int kMostRows = 12;

template <int kRows>
void run_tile(const Bf16Product& product, const uint16_t* a, const uint32_t* b, float* c) {
  __m512 sums[kRows][2];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < 2; ++v)
      sums[i][v] = product.accumulate ? _mm512_loadu_ps(c + i * product.c_row + 16 * v)
                                      : _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < product.k; k += 2, b += kPanelColumns) {
    const auto left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b));
    const auto right = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + 16));
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      int pair;
      std::memcpy(&pair, a + i * product.a_row + k, sizeof pair);
      const auto both = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
      sums[i][0] = _mm512_dpbf16_ps(sums[i][0], both, left);
      sums[i][1] = _mm512_dpbf16_ps(sums[i][1], both, right);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < 2; ++v) _mm512_storeu_ps(c + i * product.c_row + 16 * v, sums[i][v]);
  }
}

constexpr auto kTiles = []<int... kRows>(std::integer_sequence<int, kRows...>) {
  return std::array{run_tile<kRows + 1>...};
}
(std::make_integer_sequence<int, kMostRows>());

void product(const Bf16Product& product) {
  for (int64_t column = 0; column < product.n; column += kPanelColumns) {
    const uint32_t* b = product.b + column / kPanelColumns * product.b_panel_words;
    for (int64_t row = 0; row < product.m; row += kMostRows) {
      const int64_t rows = std::min<int64_t>(kMostRows, product.m - row);
      kTiles[rows - 1](product, product.a + row * product.a_row, b,
                       product.c + row * product.c_row + column);
    }
  }
}

}  // namespace

extern const Bf16Table bf16_table_avx512;
const Bf16Table bf16_table_avx512 = {"avx512_bf16", product,   pack_rows,
                                     pack_columns,  transpose, round_rows};

}  // namespace lora_dist::kernels
