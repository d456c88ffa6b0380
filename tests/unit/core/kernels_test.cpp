// Every instruction set's kernels against the operations composed of LibTorch's and against the
// scalar table.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/base/philox.hpp"
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
  for (const Activation activation : kernels::kActivations) {
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
        ops::composed::cross_entropy(wanted, labels, softcap, true).sum().item<double>();
    std::vector<double> losses(3);
    table().cross_entropy(element(), logits.data_ptr(), labels.data_ptr<int64_t>(), losses.data(),
                          static_cast<float>(softcap), true, 0, 3, 41);
    EXPECT_NEAR(losses[0] + losses[1] + losses[2], expected,
                (dtype() == at::kFloat ? 1e-6 : 2e-2) * expected);
    expect_near(logits, wanted);
  }
}

/// Bits of `rows` rows as (rows, width) of true and false.
at::Tensor as_bools(const at::Tensor& kept_NW, int64_t width) {
  const at::Tensor bit_of_word =
      at::bitwise_right_shift(kept_NW.unsqueeze(2), at::arange(32, at::kInt));
  return at::bitwise_and(bit_of_word, 1).flatten(1).narrow(1, 0, width) == 1;
}

// Four neighbours are a block of Philox, whose counter names the place and whose key the step.
TEST_P(EveryTable, KeepsTheElementsThatPhiloxDraws) {
  const uint64_t seed = 0x123456789abcdef;
  const uint32_t step = 3, slot = 2, module = 7;
  const PhiloxKey key{static_cast<uint32_t>(seed) ^ slot * 0x9E3779B9u,
                      static_cast<uint32_t>(seed >> 32) ^ step};
  for (const int64_t width : {1, 32, 101, 576, 1031}) {
    const int64_t rows = 5, words = kernels::words_of_kept(width);
    const at::Tensor kept = at::full({rows, words}, -1, at::kInt);
    table().draw_kept(reinterpret_cast<uint32_t*>(kept.data_ptr<int32_t>()), 0.25f,
                      {seed, step, slot, module}, 0, rows, width);
    const at::Tensor wanted = at::empty({rows, width}, at::kBool);
    for (uint32_t row = 0; row < rows; ++row) {
      for (uint32_t i = 0; i < width; ++i)
        wanted[row][i] = philox4x32({i / 4, row, module, slot}, key)[i % 4] >= 0x40000000u;
    }
    EXPECT_TRUE(at::equal(as_bools(kept, width), wanted)) << width;
    const int32_t last = kept[0][words - 1].item<int32_t>();
    EXPECT_TRUE(width % 32 == 0 || static_cast<uint32_t>(last) >> width % 32 == 0)
        << "bits behind the last";
  }
}

TEST_P(EveryTable, TakesWhatIsKeptAndAddsIt) {
  const int64_t rows = 7, width = 101, words = kernels::words_of_kept(width);
  const at::Tensor kept = at::empty({rows, words}, at::kInt), x = make({rows, width + 3}, 2, 1);
  x[0][0] = NAN;
  auto* bits = reinterpret_cast<uint32_t*>(kept.data_ptr<int32_t>());
  table().draw_kept(bits, 0.5f, {42, 3, 0, 1}, 0, rows, width);
  bits[0] &= ~1u;
  for (const at::ScalarType to : {at::kFloat, at::kBFloat16}) {
    for (const bool accumulate : {false, true}) {
      const at::Tensor before = pattern({rows, width}, 1, 3).to(to), y = before.clone();
      table().take_kept({.x_element = element(),
                         .x = x.data_ptr(),
                         .x_row = width + 3,
                         .y_element = to == at::kFloat ? Element::fp32 : Element::bf16,
                         .y = y.data_ptr(),
                         .y_row = width,
                         .kept = bits,
                         .kept_row = words,
                         .scale = 1.5f,
                         .accumulate = accumulate,
                         .rows = rows,
                         .columns = width});
      const at::Tensor taken =
          at::where(as_bools(kept, width), x.narrow(1, 0, width).to(at::kFloat) * 1.5f, 0.0f);
      const at::Tensor wanted = accumulate ? before.to(at::kFloat) + taken : taken;
      EXPECT_TRUE(at::allclose(y.to(at::kFloat), wanted.to(to).to(at::kFloat), 1e-6, 1e-6))
          << accumulate;
    }
  }
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

/// What each kernel of `table` makes of the same rows, long enough for whole vectors and a
/// rest.
std::map<std::string, at::Tensor> results_of(const kernels::Table& table, at::ScalarType dtype) {
  constexpr int64_t kRows = 3, kWidth = 203;
  const Element element = dtype == at::kFloat ? Element::fp32 : Element::bf16;
  const auto make = [&](double scale, int64_t seed) {
    return pattern({kRows, kWidth}, scale, seed).to(dtype);
  };
  const at::Tensor x = make(3, 1), up = make(2, 2), dy = make(1, 3);
  const at::Tensor weight = pattern({kWidth}, 1, 4);
  std::map<std::string, at::Tensor> results;
  const auto result = [&](const std::string& name, const at::Tensor& start) {
    return results.emplace(name, start.clone()).first->second;
  };

  const at::Tensor inv_rms = result("inv_rms", at::empty({kRows}, at::kFloat));
  table.rms_norm(element, x.data_ptr(), weight.data_ptr<float>(), 1, 1e-5f,
                 result("rms_norm", x).data_ptr(), inv_rms.data_ptr<float>(), 0, kRows, kWidth);
  for (const bool accumulate : {false, true}) {
    table.rms_norm_backward(element, x.data_ptr(), weight.data_ptr<float>(), 1,
                            inv_rms.data_ptr<float>(), dy.data_ptr(),
                            result(accumulate ? "rms_norm_added" : "rms_norm_dx", up).data_ptr(),
                            accumulate, 0, kRows, kWidth);
  }
  const at::Tensor angles = pattern({kRows, 50}, 2, 5), cos = angles.cos(), sin = angles.sin();
  table.rope(element, result("rope", x).data_ptr(), kWidth, 2, 101, 100, cos.data_ptr<float>(),
             sin.data_ptr<float>(), kRows, 1, 0, kRows);
  for (const auto& [name, activation] : {std::pair{"silu", Activation::silu},
                                         {"gelu", Activation::gelu},
                                         {"gelu_tanh", Activation::gelu_tanh},
                                         {"relu", Activation::relu}}) {
    table.gated(element, activation, x.data_ptr(), kWidth, up.data_ptr(), kWidth,
                result(name, x).data_ptr(), 0, kRows, kWidth);
    const at::Tensor dgate = result(fmt::format("{}_dgate", name), x);
    const at::Tensor dup = result(fmt::format("{}_dup", name), up);
    table.gated_backward(element, activation, dgate.data_ptr(), kWidth, dup.data_ptr(), kWidth,
                         dy.data_ptr(), dgate.data_ptr(), kWidth, dup.data_ptr(), kWidth, 0, kRows,
                         kWidth);
  }
  const at::Tensor labels = at::tensor({0, 202, 7}, at::kLong);
  for (const float softcap : {0.0f, 3.0f}) {
    const std::string name = softcap > 0 ? "capped_cross_entropy" : "cross_entropy";
    table.cross_entropy(element, result(name + "_gradient", x).data_ptr(),
                        labels.data_ptr<int64_t>(),
                        result(name, at::empty({kRows}, at::kDouble)).data_ptr<double>(), softcap,
                        /*gradient=*/true, 0, kRows, kWidth);
  }
  if (element == Element::bf16) return results;

  const at::Tensor first = at::tensor({0, 5, 90}, at::kLong);
  const at::Tensor last = at::tensor({203, 170, 91}, at::kLong);
  const at::Tensor out = pattern({kRows, 37}, 1, 6), dout = pattern({kRows, 37}, 1, 7);
  for (const float softcap : {0.0f, 3.0f}) {
    const std::string name = softcap > 0 ? "capped_attention" : "attention";
    const at::Tensor log_sums = result(name + "_log_sums", at::empty({kRows}, at::kFloat));
    table.attention_weights(result(name, x).data_ptr<float>(), 0.7f, softcap,
                            first.data_ptr<int64_t>(), last.data_ptr<int64_t>(),
                            log_sums.data_ptr<float>(), kRows, kWidth);
    const at::Tensor again = result(name + "_again", x), slopes = at::full_like(x, NAN);
    float* slope = softcap > 0 ? slopes.data_ptr<float>() : nullptr;
    table.attention_weights_again(again.data_ptr<float>(), 0.7f, softcap, first.data_ptr<int64_t>(),
                                  last.data_ptr<int64_t>(), log_sums.data_ptr<float>(), slope,
                                  kRows, kWidth);
    table.attention_score_gradient(
        again.data_ptr<float>(), result(name + "_gradient", dy).data_ptr<float>(), slope,
        out.data_ptr<float>(), 37, dout.data_ptr<float>(), 37, 37, 0.7f, kRows, kWidth);
  }
  for (const bool transposed : {false, true}) {
    const int64_t m = transposed ? kWidth : kRows, k = transposed ? kRows : kWidth;
    const at::Tensor b = pattern({k, 45}, 1, 8);
    table.small_product(
        {.m = m,
         .n = 45,
         .k = k,
         .a = x.const_data_ptr<float>(),
         .a_row = transposed ? 1 : kWidth,
         .a_col = transposed ? kWidth : 1,
         .b = b.const_data_ptr<float>(),
         .b_row = 45,
         .c = result(transposed ? "product_of_transposed" : "product", pattern({m, 45}, 1, 9))
                  .data_ptr<float>(),
         .c_row = 45,
         .scale = 0.7f,
         .accumulate = true});
  }
  results["sum_of_squares"] =
      at::tensor(table.sum_of_squares(x.data_ptr<float>(), x.numel()), at::kDouble);
  return results;
}

TEST_P(EveryTable, AgreesWithTheScalarOne) {
  const kernels::Table& scalar = *kernels::runnable_tables().back();
  ASSERT_STREQ(scalar.name, "scalar");
  const auto wanted = results_of(scalar, dtype());
  for (const auto& [name, got] : results_of(table(), dtype())) {
    SCOPED_TRACE(name);
    expect_near(got, wanted.at(name));
  }
}

TEST_P(EveryTable, LetsANanReachTheLossAndTheWeights) {
  for (const int64_t place : {0, 17, 40}) {  // in a vector and in the rest
    at::Tensor x = make({1, 41}, 3);
    x[0][place].fill_(place == 17 ? -NAN : NAN);  // a NaN's sign follows from the processor
    at::Tensor logits = x.clone(), scores = x.to(at::kFloat);
    const int64_t label = 3, begin = 0, end = 41;
    double loss = 0;
    table().cross_entropy(element(), logits.data_ptr(), &label, &loss, 0, true, 0, 1, 41);
    EXPECT_TRUE(std::isnan(loss)) << place;
    float log_sum = 0;
    table().attention_weights(scores.data_ptr<float>(), 1, 0, &begin, &end, &log_sum, 1, 41);
    EXPECT_TRUE(at::isnan(scores).all().item<bool>()) << place;
    const at::Tensor weight = pattern({41}, 1, 5);
    float inv_rms = 0;
    table().rms_norm(element(), x.data_ptr(), weight.data_ptr<float>(), 1, 1e-5f, x.data_ptr(),
                     &inv_rms, 0, 1, 41);
    EXPECT_TRUE(at::isnan(x).all().item<bool>()) << place;
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
      const double largest = wanted.abs().max().item<double>();  // 150 in y: fp32's rounding shows
      EXPECT_LE((got - wanted).abs().max().item<double>(), 1e-4 + 1e-6 * largest);
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

// Of both low-rank kinds, of any size and of neither.
TEST(Products, ThroughADropoutAreThoseOfTheDroppedMatrix) {
  const int before = at::get_num_threads();
  const int64_t rows = 257, wide = 421;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t rank : {8, 65}) {
      const at::Tensor x = pattern({rows, wide}, 1, 1).to(dtype),
                       a = pattern({rank, wide}, 1, 2).to(dtype);
      const at::Tensor h = pattern({rows, rank}, 1, 3).to(dtype);
      const ops::Dropout dropout(x, 0.25, {42, 3, 1, 2});
      EXPECT_TRUE(at::equal(dropout.of(x), ops::dropout(x, 0.25, {42, 3, 1, 2})));
      for (const int threads : {1, 2}) {
        at::set_num_threads(threads);
        at::Tensor made, added = pattern({rows, wide}, 1, 4).to(dtype);
        const at::Tensor da = at::zeros({rank, wide}), db = at::zeros({wide, rank});
        ops::add_product_transposed(made, h, a, dropout);
        ops::add_product_transposed(added, h, a, dropout);
        ops::add_outer_product(da, h, x, dropout);
        const at::Tensor dropped = dropout.of(x).to(at::kDouble),
                         made64 = dropout.of(at::mm(h, a)).to(at::kDouble);
        const auto expect_near = [&](const at::Tensor& got, const at::Tensor& wanted) {
          const double tolerance =
              (dtype == at::kFloat ? 2e-6 : 1.2e-2) * wanted.abs().max().item<double>();
          EXPECT_LE((got - wanted).abs().max().item<double>(), tolerance) << rank;
        };
        expect_near(ops::product(x, a, dropout), at::mm(dropped, a.to(at::kDouble).t()));
        expect_near(made, made64);
        expect_near(added, pattern({rows, wide}, 1, 4).to(at::kDouble) + made64);
        expect_near(da, at::mm(h.to(at::kDouble).t(), dropped));
      }
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
