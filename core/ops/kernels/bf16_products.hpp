// Products of bf16 matrices by the processor's own bf16 instructions, for operands that lie in the
// caches: AMX tiles, AVX512-BF16 dot products, or plain loops where there are neither (nothing is
// multiplied in bf16 there but by tests).
//
// The right operand is packed: two rows side by side in words of 32 bits, the first in the lower
// half, in panels of 32 columns. Word (p, j) of panel c holds elements (2 p, 32 c + j) and (2 p +
// 1, 32 c + j). Rows and columns are filled up with zeros to multiples of 32.
//
// An element of a result has the same bits however many rows or columns are asked for. bf16 is
// passed as its bits; sums run in fp32; numbers below fp32's normal range count as zero.
#pragma once

#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::kernels {

constexpr int64_t kPanelColumns = 32;
constexpr int64_t padded(int64_t count) { return (count + 31) / 32 * 32; }
/// Of a packed matrix of so many rows.
constexpr int64_t panel_words_of(int64_t rows) { return padded(rows) / 2 * kPanelColumns; }

/// c (+)= a b, c (m, n), a (m, k), b (k, n); n and k are multiples of 32. Rows are `_row` elements
/// apart.
struct Bf16Product {
  int64_t m, n, k;
  const uint16_t* a;
  int64_t a_row;
  const uint32_t* b;      // packed; its first panel, at the first of its k rows
  int64_t b_panel_words;  // from panel to panel: 16 * the packed matrix's rows
  float* c;
  int64_t c_row;
  bool accumulate = false;
};

/// A matrix to read: bf16 or fp32, rows `row` elements apart.
struct RowsToRead {
  Element element;
  const void* data;
  int64_t row;
  int64_t rows, columns;
};

struct Bf16Table {
  const char* name;

  /// On the calling thread.
  void (*product)(const Bf16Product&);
  /// x packed as it is: word panels of padded(x.rows) * 16 words. fp32 is rounded to nearest.
  void (*pack_rows)(const RowsToRead& x, uint32_t* packed);
  /// x transposed and packed, x bf16: panels of padded(x.columns) * 16 words.
  void (*pack_columns)(const RowsToRead& x, uint32_t* packed);
  /// y (x.columns, padded(x.rows)) = x transposed, x bf16, with zeros behind.
  void (*transpose)(const RowsToRead& x, uint16_t* y);
  /// y (+)= scale * x rounded to nearest, x fp32; rows of y are `y_row` apart.
  void (*round_rows)(const RowsToRead& x, float scale, bool accumulate, uint16_t* y, int64_t y_row);
};

/// The best one for this processor.
const Bf16Table& bf16_table();
/// All that this processor runs, the best first and the plain loops last; for tests.
std::vector<const Bf16Table*> runnable_bf16_tables();

}  // namespace lora_dist::kernels
