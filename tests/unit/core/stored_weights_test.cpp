// Formats of frozen weights: those of the registry, and a packed one that runs through every layer
// without being unpacked whole.
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/models/layers/embedding.hpp"
#include "core/models/layers/language_head.hpp"
#include "core/models/layers/weight_scope.hpp"
#include "core/ops/bf16_products.hpp"
#include "tests/support/error_text.hpp"
#include "tests/support/toy_format.hpp"

namespace lora_dist {
namespace {

void expect_close(const at::Tensor& got, const at::Tensor& wanted, double part) {
  ASSERT_EQ(got.sizes(), wanted.sizes());
  const double most = wanted.abs().max().item<double>();
  EXPECT_LE((got.to(at::kDouble) - wanted.to(at::kDouble)).abs().max().item<double>(), part * most);
}

TEST(StoredFormats, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const StoredFormat& format : stored_formats()) {
    EXPECT_TRUE(names.insert(format.name).second) << format.name;
    EXPECT_EQ(find_format(format.name), &format);
    EXPECT_EQ(format.plain.has_value(), !format.decode) << format.name;
  }
  EXPECT_EQ(find_format("BF17"), nullptr);
}

TEST(StoredFormats, AreTakenApartAsTheyAreDecodedWhole) {
  constexpr int64_t kRows = 6;
  for (const StoredFormat& format : stored_formats()) {
    SCOPED_TRACE(format.name);
    const int64_t columns = 2 * format.block_elements;
    const WeightInfo info{"a.weight", &format, {kRows, columns}};
    // 1 and 2 in every plain type but bool.
    const at::Tensor values =
        at::arange(kRows * columns).remainder(2).add(1).view({kRows, columns});
    const at::Tensor bytes =
        format.plain ? values.to(*format.plain).view(at::kByte).flatten()
                     : at::arange(kRows * 2 * format.block_bytes).remainder(60).to(at::kByte);
    EXPECT_EQ(stored_bytes(info), bytes.numel());
    const StoredWeight weight = StoredWeight::of_bytes(bytes, info);
    ASSERT_EQ(weight.size(0), kRows);
    ASSERT_EQ(weight.size(1), columns);
    const at::Tensor whole = weight.rows(0, kRows, at::kFloat);
    if (format.plain) {
      EXPECT_EQ(weight.as_tensor().scalar_type(), *format.plain);
      EXPECT_EQ(weight.as_tensor().const_data_ptr(), bytes.const_data_ptr());  // no copy
      EXPECT_TRUE(at::equal(whole, weight.as_tensor().to(at::kFloat)));
      EXPECT_TRUE(format.plain == at::kBool || at::equal(whole, values.to(at::kFloat)));
    }
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      EXPECT_TRUE(at::equal(weight.rows(2, 3, dtype), whole.narrow(0, 2, 3).to(dtype)));
      const at::Tensor index = at::tensor({4, 0, 4}, at::kLong);
      EXPECT_TRUE(
          at::equal(weight.gather_rows(index, dtype), whole.index_select(0, index).to(dtype)));
      const at::Tensor tile = at::empty({2, format.block_elements}, dtype);
      weight.decode(3, format.block_elements, tile);
      EXPECT_TRUE(at::equal(
          tile, whole.narrow(0, 3, 2).narrow(1, format.block_elements, tile.size(1)).to(dtype)));
    }
  }
}

class PackedWeights : public testing::Test {
 protected:
  void SetUp() override { at::manual_seed(7); }
  static FrozenWeight packed(ToyWeights& weights) { return {weights, ToyWeights::kPacked}; }
  static FrozenWeight plain(ToyWeights& weights) { return {weights, ToyWeights::kPlain}; }

  ToyFormat toy_;
};

TEST_F(PackedWeights, AreRefusedByNameWhereTheirRowsEndInsideABlock) {
  const WeightInfo odd{"model.layers.0.mlp.up_proj.weight", &toy_.format(), {64, 48}};
  EXPECT_EQ(
      error_text<ModelError>([&] { stored_bytes(odd); }),
      "model.layers.0.mlp.up_proj.weight: stored as TOY8 in rows of 48, expected a multiple of "
      "32; take a base that stores it otherwise");
  EXPECT_EQ(stored_bytes({"a", &toy_.format(), {3, 64}}), 3 * 2 * 34);
}

TEST_F(PackedWeights, AreRefusedByNameAsNormsAndBiases) {
  ToyWeights weights(toy_, 4, 32);
  EXPECT_THAT(error_text<ModelError>([&] { packed(weights).vector(); }),
              testing::HasSubstr("'packed.weight' is stored as TOY8"));
}

TEST_F(PackedWeights, MultiplyAsTheNumbersTheyStandForPieceByPiece) {
  // Rows in three pieces; inputs of the size of a rank, which tensors multiply otherwise, and wide.
  for (const int64_t in : {64, 160}) {
    const int64_t out = 4500, rows = 5;
    ToyWeights weights(toy_, out, in);
    const Linear linear("packed", packed(weights), {}), wanted("plain", plain(weights), {});
    EXPECT_EQ(linear.out_features(), out);
    const at::Tensor x = at::randn({rows, in}), dy = at::randn({rows, out});
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const double part = dtype == at::kFloat ? 1e-6 : 1e-2;
      at::Tensor y = at::ones({rows, out}, dtype), y_wanted = y.clone(), dx, dx_wanted;
      toy_.forget();
      linear.forward(x.to(dtype), y);
      wanted.forward(x.to(dtype), y_wanted);
      linear.backward(dy.to(dtype), dx);
      wanted.backward(dy.to(dtype), dx_wanted);
      expect_close(y, y_wanted, part);
      expect_close(dx, dx_wanted, part);
      EXPECT_GT(toy_.most_decoded(), 0);
      const int64_t most_elements = ops::most_piece_rows(in) * in;
      EXPECT_TRUE(dtype != at::kFloat || toy_.most_decoded() <= most_elements);
      linear.backward(dy.to(dtype), dx);  // adds
      expect_close(dx, 2 * dx_wanted, 2 * part);
    }
  }
}

// Pieces end where blocks do, also of blocks that no power of two is a multiple of.
TEST_F(PackedWeights, AreCutBetweenBlocksInProductsOfBf16) {
  ToyFormat wide(/*block_elements=*/160);
  const int64_t out = 2000, in = 27 * 160;
  ToyWeights weights(wide, out, in);
  const at::Tensor& values = weights.matrix().values_RC;
  const StoredWeight weight = weights.acquire(ToyWeights::kPacked);
  for (const int64_t rows : {3, 200}) {
    const at::Tensor x = at::randn({rows, in}).to(at::kBFloat16),
                     dy = at::randn({rows, out}).to(at::kBFloat16);
    const at::Tensor y = at::empty({rows, out}, at::kBFloat16), dx = at::empty_like(x);
    ops::bf16::multiply(y, x, {weight, /*is_transposed=*/true}, {});
    ops::bf16::multiply(dx, dy, {weight, /*is_transposed=*/false}, {});
    expect_close(y, at::mm(x.to(at::kFloat), values.t()), 1e-2);
    expect_close(dx, at::mm(dy.to(at::kFloat), values), 1e-2);
  }
  EXPECT_LT(wide.most_decoded(), out * in);
}

TEST_F(PackedWeights, GiveAnEmbeddingTheRowsItLooksUp) {
  ToyWeights weights(toy_, 300, 64);
  const at::Tensor tokens = at::tensor({7, 299, 7, 0}, at::kLong);
  const at::Tensor rows = Embedding(packed(weights), /*scale=*/2).forward(tokens, at::kFloat);
  EXPECT_TRUE(at::equal(rows, weights.matrix().values_RC.index_select(0, tokens) * 2));
  EXPECT_EQ(toy_.most_decoded(), tokens.numel() * 64);
}

TEST_F(PackedWeights, MakeTheLogitsOfAHead) {
  const int64_t width = 64, vocabulary = 4500, count = 6;
  ToyWeights weights(toy_, vocabulary, width);
  const HeadSpec spec{.width = width, .vocab_size = vocabulary};
  const RmsNorm norm(at::ones({width}), {});
  LanguageHead head(spec, norm, packed(weights)), wanted(spec, norm, plain(weights));
  const at::Tensor hidden = at::randn({count, width});
  const LabelledRows labelled{at::arange(count), {at::arange(count) * 700}};
  const auto loss = losses().at("cross_entropy")();
  at::Tensor dhidden, dhidden_wanted;
  const HeadLosses got = head.losses(hidden, labelled, *loss, &dhidden);
  const HeadLosses by_plain = wanted.losses(hidden, labelled, *loss, &dhidden_wanted);
  expect_close(got.rows_R, by_plain.rows_R, 1e-6);
  expect_close(dhidden, dhidden_wanted, 1e-5);
  expect_close(head.logits(hidden), wanted.logits(hidden), 1e-5);
  EXPECT_LT(toy_.most_decoded(), vocabulary * width);
}

}  // namespace
}  // namespace lora_dist
