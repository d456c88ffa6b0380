#include "data/streams/packing.hpp"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/streams/permutation.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAreArray;

std::vector<int32_t> some_lengths(int64_t count) {
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < count; ++i) lengths.push_back(static_cast<int32_t>(1 + i * i * 7 % 97));
  return lengths;
}

TEST(PackRows, FillsRowsWithWhatFitsBestAndKeepsTheOrder) {
  const std::vector<int32_t> lengths = {3, 6, 10, 4, 5, 2};
  const PackedRows rows = pack_rows({0, 1, 2, 3, 4, 5}, lengths, 10);
  // 10 | 6 + 4 | 5 + 3 + 2, rows by their first sample.
  EXPECT_THAT(rows.samples, ElementsAre(0, 4, 5, 1, 3, 2));
  EXPECT_THAT(rows.ends, ElementsAre(3, 5, 6));
}

TEST(PackRows, HoldsEverySampleOnceInRowsThatAreNotTooLong) {
  const std::vector<int32_t> lengths = some_lengths(500);
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  const PackedRows rows = pack_rows(order, lengths, 128);
  EXPECT_THAT(rows.samples, UnorderedElementsAreArray(order));
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    int64_t tokens = 0;
    for (int64_t i = rows.begin_of(row); i < rows.ends[row]; ++i)
      tokens += lengths[rows.samples[i]];
    EXPECT_LE(tokens, 128);
  }
  const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  EXPECT_LE(rows.num_rows(), (total + 127) / 128 * 11 / 9 + 1);
}

TEST(PackRows, NeedsAsManyRowsInAnyOrder) {
  const std::vector<int32_t> lengths = some_lengths(300);
  std::vector<int64_t> counts;
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    const auto order = random_permutation(300, 1, DrawPurpose::kEpochOrder, epoch);
    counts.push_back(pack_rows(order, lengths, 128).num_rows());
  }
  EXPECT_THAT(counts, testing::Each(counts[0]));
}

TEST(PackRows, PermutesWholeRows) {
  const PackedRows rows{.samples = {7, 8, 9, 1}, .ends = {2, 3, 4}};
  const PackedRows result = permuted(rows, {2, 0, 1});
  EXPECT_THAT(result.samples, ElementsAre(1, 7, 8, 9));
  EXPECT_THAT(result.ends, ElementsAre(1, 3, 4));
}

}  // namespace
}  // namespace lora_dist
