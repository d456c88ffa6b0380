// AMX: a tile holds 16 rows of 64 bytes. Four tiles of c, two by two, take the products of two
// tiles of a and two of b.
#include <immintrin.h>

#include "core/ops/kernels/bf16_packing.inc"

namespace lora_dist::kernels {
namespace {

constexpr int64_t kTileRows = 16, kTileDepth = 32;  // depth in bf16 elements
// Depth that is run through at once: a panel of b is still near when the next rows of a meet it.
constexpr int64_t kMostDepth = 1024;

/// Tiles 0 to 3 are c, 4 and 5 a, 6 and 7 b.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  /// For `upper` and `lower` rows of c and a.
  TileConfig(int64_t upper, int64_t lower) {
    const int64_t rows_of_tile[8] = {upper, upper, lower,     lower,
                                     upper, lower, kTileRows, kTileRows};
    for (int tile = 0; tile < 8; ++tile) {
      if (rows_of_tile[tile] == 0) continue;
      row_bytes[tile] = 64;
      rows[tile] = static_cast<uint8_t>(rows_of_tile[tile]);
    }
  }
};
static_assert(sizeof(TileConfig) == 64);

/// Up to 32 rows of c and one panel: with kLower, more than 16.
template <bool kLower>
void run_tiles(const Bf16Product& product, const uint16_t* a, const uint32_t* b, float* c) {
  const int64_t c_bytes = product.c_row * 4, a_bytes = product.a_row * 2,
                b_bytes = kPanelColumns * 4;
  const uint16_t* lower_a = a + kTileRows * product.a_row;
  float* lower_c = c + kTileRows * product.c_row;
  if (product.accumulate) {
    _tile_loadd(0, c, c_bytes);
    _tile_loadd(1, c + 16, c_bytes);
    if (kLower) _tile_loadd(2, lower_c, c_bytes);
    if (kLower) _tile_loadd(3, lower_c + 16, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if (kLower) _tile_zero(2);
    if (kLower) _tile_zero(3);
  }
  for (int64_t k = 0; k < product.k; k += kTileDepth, b += kTileDepth / 2 * kPanelColumns) {
    _tile_loadd(4, a + k, a_bytes);
    _tile_loadd(6, b, b_bytes);
    _tile_loadd(7, b + 16, b_bytes);
    if (kLower) _tile_loadd(5, lower_a + k, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (kLower) _tile_dpbf16ps(2, 5, 6);
    if (kLower) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + 16, c_bytes);
  if (kLower) _tile_stored(2, lower_c, c_bytes);
  if (kLower) _tile_stored(3, lower_c + 16, c_bytes);
}

/// Rows [first, last), `step` at once, of every panel.
template <bool kLower>
void run_rows(const Bf16Product& product, int64_t first, int64_t last, int64_t step) {
  for (int64_t column = 0; column < product.n; column += kPanelColumns) {
    const uint32_t* b = product.b + column / kPanelColumns * product.b_panel_words;
    for (int64_t row = first; row < last; row += step)
      run_tiles<kLower>(product, product.a + row * product.a_row, b,
                        product.c + row * product.c_row + column);
  }
}

/// Of one depth.
void run(const Bf16Product& product) {
  const int64_t whole = product.m / 32 * 32, rest = product.m - whole;
  if (whole > 0) {
    const TileConfig config(kTileRows, kTileRows);
    _tile_loadconfig(&config);
    run_rows<true>(product, 0, whole, 32);
  }
  if (rest > 0) {
    const TileConfig config(std::min(rest, kTileRows), std::max<int64_t>(rest - kTileRows, 0));
    _tile_loadconfig(&config);
    rest > kTileRows ? run_rows<true>(product, whole, product.m, 32)
                     : run_rows<false>(product, whole, product.m, 32);
  }
}

void product(const Bf16Product& product) {
  for (int64_t first = 0; first < product.k; first += kMostDepth) {
    Bf16Product part = product;
    part.k = std::min(kMostDepth, product.k - first);
    part.a += first;
    part.b += first / 2 * kPanelColumns;
    part.accumulate = product.accumulate || first > 0;
    run(part);
  }
  _tile_release();
}

}  // namespace

extern const Bf16Table bf16_table_amx;
const Bf16Table bf16_table_amx = {"amx", product, pack_rows, pack_columns, transpose, round_rows};

}  // namespace lora_dist::kernels
