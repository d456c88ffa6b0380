// Every instruction set's kernels against the operations composed of LibTorch's.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/ops/composed.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist {
namespace {

using kernels::Activation;
using kernels::Element;

at::Tensor pattern(at::IntArrayRef shape, double scale, int64_t seed) {
  const int64_t count = c10::multiply_integers(shape);
  return (at::sin(at::arange(count, at::kDouble) * 1.7 + seed) * scale).to(at::kFloat).view(shape);
}

class EveryTable
    : public testing::TestWithParam<std::tuple<const kernels::Table*, at::ScalarType>> {
 protected:
  const kernels::Table& table() const { return *std::get<0>(GetParam()); }
  at::ScalarType dtype() const { return std::get<1>(GetParam()); }
  Element element() const { return dtype() == at::kFloat ? Element::fp32 : Element::bf16; }
  at::Tensor make(at::IntArrayRef shape, double scale = 1, int64_t seed = 0) const {
    return pattern(shape, scale, seed).to(dtype());
  }

  // Relative to the largest value: fp32 rounding, or half a unit of bf16.
  void expect_near(const at::Tensor& got, const at::Tensor& wanted) const {
    const double tolerance =
        (dtype() == at::kFloat ? 2e-6 : 8e-3) * wanted.to(at::kFloat).abs().max().item<double>();
    EXPECT_LE((got.to(at::kFloat) - wanted.to(at::kFloat)).abs().max().item<double>(), tolerance);
  }
};

TEST_P(EveryTable, NormalisesRowsAndTheirGradient) {
  const at::Tensor x = make({5, 37}, 3), weight = pattern({37}, 1, 5), dy = make({5, 37}, 1, 9);
  at::Tensor inv_rms, y = at::empty_like(x), inv = at::empty({5}, at::kFloat);
  const at::Tensor wanted = ops::composed::rms_norm(x, weight, 1, 1e-5, inv_rms);
  table().rms_norm(element(), x.data_ptr(), weight.data_ptr<float>(), 1, 1e-5f, y.data_ptr(),
                   inv.data_ptr<float>(), 0, 5, 37);
  expect_near(y, wanted);
  for (const bool accumulate : {false, true}) {
    at::Tensor dx = make({5, 37}, 1, 3), expected = accumulate ? dx.clone() : at::Tensor();
    ops::composed::rms_norm_backward(x, weight, 1, inv_rms, dy, expected);
    table().rms_norm_backward(element(), x.data_ptr(), weight.data_ptr<float>(), 1,
                              inv.data_ptr<float>(), dy.data_ptr(), dx.data_ptr(), accumulate, 0, 5,
                              37);
    expect_near(dx, expected);
  }
}

TEST_P(EveryTable, RotatesPartOfEachHeadAndBack) {
  const at::Tensor angles = pattern({3, 4}, 2, 1);
  const ops::Rotation rotation{angles.cos(), angles.sin(), 8};
  const at::Tensor x =
      make({6, 30});  // two heads of 10 in 20 of 30 columns: strided rows, two features untouched
  at::Tensor got = x.clone(), wanted = x.clone();
  ops::composed::rope(wanted.narrow(1, 0, 20), 10, rotation, false);
  const auto rotate = [&](float direction) {
    table().rope(element(), got.data_ptr(), 30, 2, 10, 8, rotation.cos_TH.data_ptr<float>(),
                 rotation.sin_TH.data_ptr<float>(), 3, direction, 0, 6);
  };
  rotate(1);
  expect_near(got, wanted);
  EXPECT_FALSE(at::equal(got, x));
  rotate(-1);
  expect_near(got, x);
}

TEST_P(EveryTable, GatesAndTheirGradientsInPlace) {
  for (const Activation activation : {Activation::silu, Activation::gelu_tanh}) {
    const at::Tensor gate = make({4, 33}, 5), up = make({4, 33}, 2, 7), dy = make({4, 33}, 1, 11);
    at::Tensor y = at::empty_like(gate);
    table().gated(element(), activation, gate.data_ptr(), 33, up.data_ptr(), 33, y.data_ptr(), 0, 4,
                  33);
    expect_near(y, ops::composed::gated(activation, gate, up));
    at::Tensor dgate = gate.clone(), dup = up.clone(), wanted_gate = gate.clone(),
               wanted_up = up.clone();
    ops::composed::gated_backward(activation, wanted_gate, wanted_up, dy);
    table().gated_backward(element(), activation, dgate.data_ptr(), 33, dup.data_ptr(), 33,
                           dy.data_ptr(), dgate.data_ptr(), 33, dup.data_ptr(), 33, 0, 4, 33);
    expect_near(dgate, wanted_gate);
    expect_near(dup, wanted_up);
  }
}

TEST_P(EveryTable, TakesCrossEntropyWithAndWithoutASoftCap) {
  const at::Tensor labels = at::tensor({0, 40, 7}, at::kLong);
  for (const double softcap : {0.0, 3.0}) {
    at::Tensor logits = make({3, 41}, 6), wanted = logits.clone();
    const double expected =
        ops::composed::cross_entropy(wanted, labels, softcap, true).item<double>();
    std::vector<double> losses(3);
    table().cross_entropy(element(), logits.data_ptr(), labels.data_ptr<int64_t>(), losses.data(),
                          static_cast<float>(softcap), true, 0, 3, 41);
    EXPECT_NEAR(losses[0] + losses[1] + losses[2], expected,
                (dtype() == at::kFloat ? 1e-6 : 2e-2) * expected);
    expect_near(logits, wanted);
  }
}

TEST_P(EveryTable, DropsTheSameElementsForwardAndBackwardAndKeepsTheMean) {
  const at::Tensor ones = at::ones({64, 101}, at::kFloat).to(dtype());
  at::Tensor first = at::empty_like(ones), again = at::empty_like(ones),
             other = at::empty_like(ones);
  const auto drop = [&](at::Tensor& y, uint32_t slot) {
    table().dropout(element(), ones.data_ptr(), y.data_ptr(), 0.25f, {42, 3, slot, 1}, 0, 64, 101);
  };
  drop(first, 0), drop(again, 0), drop(other, 1);
  EXPECT_TRUE(at::equal(first, again));
  EXPECT_FALSE(at::equal(first, other));
  EXPECT_NEAR(first.to(at::kFloat).mean().item<double>(), 1, 0.03);
  EXPECT_NEAR((first == 0).to(at::kFloat).mean().item<double>(), 0.25, 0.03);
}

// Sizes on both sides of a tile's and of a panel's; a as stored and transposed.
TEST_P(EveryTable, MultipliesSmallMatricesOfAnySize) {
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {7, 37, 300}, {96, 64, 17}, {100, 8, 1100}, {13, 20, 513}, {8, 577, 50}}) {
    const at::Tensor b = pattern({k, n + 3}, 1, 5).narrow(1, 0, n);
    for (const at::Tensor& a : {pattern({m, k}, 1, 3), pattern({k, m}, 1, 3).t()}) {
      for (const bool accumulate : {false, true}) {
        const at::Tensor c = pattern({m, n}, 1, 7);
        const at::Tensor wanted = at::mm(a.to(at::kDouble), b.to(at::kDouble)) * 0.5 +
                                  c.to(at::kDouble) * (accumulate ? 1 : 0);
        table().small_product({.m = m,
                               .n = n,
                               .k = k,
                               .a = a.const_data_ptr<float>(),
                               .a_row = a.stride(0),
                               .a_col = a.stride(1),
                               .b = b.const_data_ptr<float>(),
                               .b_row = b.stride(0),
                               .c = c.data_ptr<float>(),
                               .c_row = n,
                               .scale = 0.5f,
                               .accumulate = accumulate});
        EXPECT_LE((c - wanted).abs().max().item<double>(), 2e-6 * std::sqrt(k))
            << m << " x " << n << " x " << k;
      }
    }
  }
}

TEST_P(EveryTable, GivesAnElementOfASmallProductTheSameBitsHoweverItIsCut) {
  const int64_t m = 61, n = 45, k = 700;
  const at::Tensor a = pattern({m, k}, 1, 3), b = pattern({k, n}, 1, 5);
  const auto product = [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const at::Tensor c = at::empty({rows, columns}, at::kFloat);
    table().small_product({.m = rows,
                           .n = columns,
                           .k = k,
                           .a = a.const_data_ptr<float>() + row * k,
                           .a_row = k,
                           .a_col = 1,
                           .b = b.const_data_ptr<float>() + column,
                           .b_row = n,
                           .c = c.data_ptr<float>(),
                           .c_row = columns});
    return c;
  };
  const at::Tensor whole = product(0, m, 0, n);
  for (const int64_t rows : {1, 5, 16, 60}) {
    for (const int64_t columns : {1, 7, 8, 33}) {
      EXPECT_TRUE(at::equal(product(m - rows, rows, n - columns, columns),
                            whole.narrow(0, m - rows, rows).narrow(1, n - columns, columns)))
          << rows << " x " << columns;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryTable,
                         testing::Combine(testing::ValuesIn(kernels::runnable_tables()),
                                          testing::Values(at::kFloat, at::kBFloat16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)->name) +
                                  (std::get<1>(info.param) == at::kFloat ? "_fp32" : "_bf16");
                         });

TEST(SumOfSquares, IsTheSumWhateverTheLength) {
  for (const int64_t count : {0, 1, 16384, 16385, 100003}) {
    EXPECT_NEAR(ops::sum_of_squares(at::full({count}, 0.5f)), 0.25 * static_cast<double>(count),
                1e-9);
  }
}

// 15000 rows of 300 in fp32 are two pieces.
TEST(Products, AreTheSameOverThePiecesOfAWeight) {
  const at::Tensor x = pattern({16, 300}, 1, 1), dy = pattern({16, 15000}, 1, 3);
  for (const at::ScalarType stored : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor weight = pattern({15000, 300}, 1, 2).to(stored), wide = weight.to(at::kDouble);
    const at::Tensor y = at::mm(x.to(at::kDouble), wide.t()), dx = at::mm(dy.to(at::kDouble), wide);
    const auto expect_near = [](const at::Tensor& got, const at::Tensor& wanted) {
      EXPECT_LE((got - wanted).abs().max().item<double>(), 1e-4);
    };
    expect_near(ops::product(x, weight), y);
    at::Tensor sum = ops::product_transposed(dy, weight);
    expect_near(sum, dx);
    ops::add_product_transposed(sum, dy, weight);
    expect_near(sum, 2 * dx);
  }
}

// As an adapter asks for them: strided columns of the group's low-rank side, both gradients.
TEST(Products, OfLowRankAreThoseInDoubleAndKeepTheirBitsWithTwoThreads) {
  const int before = at::get_num_threads();
  const int64_t rows = 257, wide = 421;
  for (const int64_t rank : {4, 8, 24, 64, 65}) {
    const at::Tensor x = pattern({rows, wide}, 1, 1), a = pattern({rank, wide}, 1, 2);
    const at::Tensor h = pattern({rows, rank + 5}, 1, 3).narrow(1, 5, rank);
    const auto compute = [&](int threads) {
      at::set_num_threads(threads);
      at::Tensor y = pattern({rows, wide}, 1, 4), dx = y.clone();
      const at::Tensor da = pattern({rank, wide}, 1, 5), db = pattern({wide, rank}, 1, 6);
      ops::add_product(y, h, a.t(), 0.5);
      ops::add_product_transposed(dx, h, a);
      ops::add_outer_product(da, h, x);
      ops::add_outer_product(db, x, h);
      return std::vector<at::Tensor>{ops::product(x, a), y, dx, da, db};
    };
    const std::vector<at::Tensor> got = compute(1), again = compute(2);
    const at::Tensor x64 = x.to(at::kDouble), a64 = a.to(at::kDouble), h64 = h.to(at::kDouble);
    const at::Tensor y = pattern({rows, wide}, 1, 4).to(at::kDouble);
    const std::vector<at::Tensor> wanted = {at::mm(x64, a64.t()), y + at::mm(h64, a64) * 0.5,
                                            y + at::mm(h64, a64),
                                            pattern({rank, wide}, 1, 5) + at::mm(h64.t(), x64),
                                            pattern({wide, rank}, 1, 6) + at::mm(x64.t(), h64)};
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LE((got[i] - wanted[i]).abs().max().item<double>(),
                2e-6 * wanted[i].abs().max().item<double>())
          << rank << ", result " << i;
      EXPECT_TRUE(at::equal(got[i], again[i])) << rank << ", result " << i;
    }
  }
  at::set_num_threads(before);
}

TEST(Products, KeepTheirBitsWithOneAndTwoThreads) {
  const int before = at::get_num_threads();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = pattern({96, 320}, 1, 1).to(dtype),
                     weight = pattern({200, 320}, 1, 2).to(at::kBFloat16),
                     dy = pattern({96, 200}, 1, 3).to(dtype);
    at::set_num_threads(1);
    const at::Tensor y = ops::product(x, weight), dx = ops::product_transposed(dy, weight);
    at::set_num_threads(2);
    EXPECT_TRUE(at::equal(y, ops::product(x, weight)));
    EXPECT_TRUE(at::equal(dx, ops::product_transposed(dy, weight)));
    at::set_num_threads(before);
  }
}

}  // namespace
}  // namespace lora_dist
