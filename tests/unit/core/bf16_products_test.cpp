// Products of bf16 by every set of instructions that this processor has, and what is built on the
// best of them, against sums in double.

#include "core/ops/bf16_products.hpp"

#include <array>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/ops/packed_matrix.hpp"

namespace lora_dist {
namespace {

using kernels::padded;

at::Tensor wave(at::IntArrayRef shape, int64_t seed) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 1.9 + seed)
      .to(at::kBFloat16)
      .view(shape);
}

at::Tensor product_in_double(const at::Tensor& a, const at::Tensor& b) {
  return at::mm(a.to(at::kDouble), b.to(at::kDouble));
}

double difference_in_double(const at::Tensor& got, const at::Tensor& wanted) {
  return (got.to(at::kDouble) - wanted.to(at::kDouble)).abs().max().item<double>();
}

class EveryBf16Table : public testing::TestWithParam<const kernels::Bf16Table*> {
 protected:
  const kernels::Bf16Table& table() const { return *GetParam(); }
};

// Heights on both sides of one and of two tiles.
TEST_P(EveryBf16Table, MultipliesPackedMatricesOfAnyHeight) {
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{
           {1, 32, 32}, {13, 64, 96}, {16, 32, 64}, {31, 96, 320}, {77, 32, 576}}) {
    const at::Tensor a = wave({m, k + 8}, 1).narrow(1, 0, k), b = wave({k, n}, 2);
    const at::Tensor packed = at::empty({n * k / 2}, at::kInt);
    auto* words = reinterpret_cast<uint32_t*>(packed.data_ptr<int32_t>());
    table().pack_rows(ops::rows_of(b), words);
    for (const bool accumulate : {false, true}) {
      const at::Tensor c = wave({m, n + 5}, 3).to(at::kFloat), before = c.clone();
      table().product({.m = m,
                       .n = n,
                       .k = k,
                       .a = ops::bits_of(a),
                       .a_row = k + 8,
                       .b = words,
                       .b_panel_words = k * 16,
                       .c = c.data_ptr<float>(),
                       .c_row = n + 5,
                       .accumulate = accumulate});
      at::Tensor wanted = before.to(at::kDouble);
      if (!accumulate) wanted.narrow(1, 0, n).zero_();
      wanted.narrow(1, 0, n).add_(product_in_double(a, b));
      EXPECT_LE(difference_in_double(c, wanted), 2e-5) << m << " x " << n << " x " << k;
    }
  }
}

TEST_P(EveryBf16Table, GivesAnElementTheSameBitsHoweverTheProductIsCut) {
  const int64_t m = 61, n = 96, k = 320;
  const at::Tensor a = wave({m, k}, 1), b = wave({k, n}, 2),
                   packed = at::empty({n * k / 2}, at::kInt);
  auto* words = reinterpret_cast<uint32_t*>(packed.data_ptr<int32_t>());
  table().pack_rows(ops::rows_of(b), words);
  const auto product = [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const at::Tensor c = at::empty({rows, columns}, at::kFloat);
    table().product({.m = rows,
                     .n = columns,
                     .k = k,
                     .a = ops::bits_of(a) + row * k,
                     .a_row = k,
                     .b = words + column / 32 * k * 16,
                     .b_panel_words = k * 16,
                     .c = c.data_ptr<float>(),
                     .c_row = columns});
    return c;
  };
  const at::Tensor whole = product(0, m, 0, n);
  for (const int64_t rows : {1, 5, 16, 17, 60}) {
    EXPECT_TRUE(at::equal(product(m - rows, rows, 32, 64),
                          whole.narrow(0, m - rows, rows).narrow(1, 32, 64)))
        << rows;
  }
}

/// What `packed` holds, as (padded rows, padded columns).
at::Tensor unpacked(const at::Tensor& packed, int64_t rows, int64_t columns) {
  return packed.view(at::kBFloat16)
      .view({padded(columns) / 32, padded(rows) / 2, 32, 2})
      .permute({1, 3, 0, 2})
      .reshape({padded(rows), padded(columns)});
}

TEST_P(EveryBf16Table, PacksAndTransposesWithZerosBehind) {
  for (const auto& [rows, columns] :
       std::vector<std::array<int64_t, 2>>{{1, 1}, {32, 64}, {45, 33}, {64, 8}, {7, 80}}) {
    const at::Tensor x = wave({rows, columns + 3}, 4).narrow(1, 0, columns),
                     x32 = x.to(at::kFloat) * 1.001;
    const auto filled = [](const at::Tensor& from) {
      const at::Tensor to = at::zeros({padded(from.size(0)), padded(from.size(1))}, at::kBFloat16);
      to.narrow(0, 0, from.size(0)).narrow(1, 0, from.size(1)).copy_(from);
      return to;
    };
    const at::Tensor packed = at::full({padded(rows) * padded(columns) / 2}, -1, at::kInt);
    auto* words = reinterpret_cast<uint32_t*>(packed.data_ptr<int32_t>());
    table().pack_rows(ops::rows_of(x), words);
    EXPECT_TRUE(at::equal(unpacked(packed, rows, columns), filled(x))) << rows << " x " << columns;
    table().pack_rows(ops::rows_of(x32), words);
    EXPECT_TRUE(at::equal(unpacked(packed, rows, columns), filled(x32)))
        << rows << " x " << columns;
    packed.fill_(-1);
    table().pack_columns(ops::rows_of(x), words);
    EXPECT_TRUE(at::equal(unpacked(packed, columns, rows), filled(x.t())))
        << rows << " x " << columns;
    const at::Tensor turned = at::ones({columns, padded(rows)}, at::kBFloat16);
    table().transpose(ops::rows_of(x), ops::bits_of(turned));
    EXPECT_TRUE(at::equal(turned, filled(x.t()).narrow(0, 0, columns))) << rows << " x " << columns;
  }
}

TEST_P(EveryBf16Table, RoundsAndAddsRows) {
  const at::Tensor x = wave({5, 50}, 5).to(at::kFloat) * 1.003, before = wave({5, 47}, 6);
  for (const bool accumulate : {false, true}) {
    const at::Tensor y = before.clone();
    kernels::RowsToRead rows = ops::rows_of(x);
    rows.columns = 47;
    table().round_rows(rows, 0.5f, accumulate, ops::bits_of(y), 47);
    const at::Tensor scaled = x.narrow(1, 0, 47) * 0.5;
    const at::Tensor wanted = accumulate ? before.to(at::kFloat) + scaled : scaled;
    EXPECT_LE(difference_in_double(y, wanted.to(at::kBFloat16)), accumulate ? 8e-3 : 0)
        << accumulate;
  }
}

INSTANTIATE_TEST_SUITE_P(Instructions, EveryBf16Table,
                         testing::ValuesIn(kernels::runnable_bf16_tables()),
                         [](const auto& info) { return std::string(info.param->name); });

// As an adapter asks for them: strided columns, results that are added to, with and without a
// dropout.
TEST(Bf16Products, AreThoseInDoubleAndKeepTheirBitsWithTwoThreads) {
  const int before = at::get_num_threads();
  const int64_t rows = 557, wide = 421;
  for (const int64_t rank : {1, 8, 24, 64}) {
    const at::Tensor x = wave({rows, wide}, 1), a = wave({rank, wide}, 2),
                     start = wave({rows, wide}, 4);
    const at::Tensor h = wave({rows, rank + 5}, 3).narrow(1, 5, rank);
    const ops::Dropout dropout(x, 0.25, {42, 3, 1, 2});
    const auto compute = [&](int threads) {
      at::set_num_threads(threads);
      const at::Tensor hidden = at::empty({rows, rank}, x.options()),
                       dropped = at::empty_like(hidden);
      const at::Tensor y = start.clone(), dx = start.clone();
      const at::Tensor da = at::ones({rank, wide}), da_dropped = at::ones({rank, wide});
      ops::bf16::multiply(hidden, x, a.t(), {});
      ops::bf16::multiply(dropped, x, a.t(), {.of_input = &dropout});
      ops::bf16::multiply(y, h, a, {.scale = 0.5, .accumulate = true});
      ops::bf16::multiply(dx, h, a, {.accumulate = true, .of_result = &dropout});
      ops::bf16::add_outer_product(da, h, x, nullptr);
      ops::bf16::add_outer_product(da_dropped, h, x, &dropout);
      return std::vector<at::Tensor>{hidden, dropped, y, dx, da, da_dropped};
    };
    const std::vector<at::Tensor> got = compute(1), again = compute(2);
    const at::Tensor dropped = dropout.of(x), start64 = start.to(at::kDouble);
    const at::Tensor keep = dropout.of(at::ones({rows, wide}));
    const std::vector<at::Tensor> wanted = {product_in_double(x, a.t()),
                                            product_in_double(dropped, a.t()),
                                            start64 + product_in_double(h, a) * 0.5,
                                            start64 + product_in_double(h, a) * keep,
                                            product_in_double(h.t(), x) + 1,
                                            product_in_double(h.t(), dropped) + 1};
    for (size_t i = 0; i < got.size(); ++i) {
      const double unit = got[i].scalar_type() == at::kFloat ? 1e-5 : 5e-3;
      EXPECT_LE(difference_in_double(got[i], wanted[i]),
                unit * wanted[i].abs().max().item<double>())
          << rank << ", result " << i;
      EXPECT_TRUE(at::equal(got[i], again[i])) << rank << ", result " << i;
    }
  }
  at::set_num_threads(before);
}

// Weights that are packed in several pieces, by columns and by rows; few rows and many.
TEST(Bf16Products, AreThoseInDoubleOverThePiecesOfAWeight) {
  const int64_t rows = 133;
  for (const auto& [depth, columns] :
       std::vector<std::array<int64_t, 2>>{{4200, 70}, {70, 4200}, {4128, 2100}}) {
    const at::Tensor x = wave({rows, depth}, 1), b = wave({depth, columns}, 2);
    const at::Tensor y = wave({rows, columns}, 3);
    const at::Tensor wanted = y.to(at::kDouble) + product_in_double(x, b) * 0.5;
    ops::bf16::multiply(y, x, b, {.scale = 0.5, .accumulate = true});
    const double limit = 5e-3 * wanted.abs().max().item<double>();
    EXPECT_LE(difference_in_double(y, wanted), limit) << depth << " x " << columns;
    const at::Tensor few = at::empty({7, columns}, y.options()), many = at::empty_like(y);
    ops::bf16::multiply(few, x.narrow(0, 60, 7), b.t().contiguous().t(), {});
    ops::bf16::multiply(many, x, b, {});
    EXPECT_TRUE(at::equal(few, many.narrow(0, 60, 7))) << depth << " x " << columns;
  }
}

}  // namespace
}  // namespace lora_dist
