#include "data/streams/dataset_split.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "data/streams/permutation.hpp"

namespace lora_dist {

Split split_dataset(const Dataset& dataset, double val_size, int64_t seed) {
  const int64_t num_samples = dataset.num_samples();
  // A share is rounded up, as scikit-learn and datasets.train_test_split do.
  const auto num_validation = static_cast<int64_t>(
      std::ceil(val_size < 1 ? val_size * static_cast<double>(num_samples) : val_size));
  if (num_validation >= num_samples)
    throw ConfigError({.where = "val_size",
                       .found = fmt::format("{} of {} samples", num_validation, num_samples),
                       .expected = "at least one sample left to train on",
                       .fix = "lower it"});
  std::vector<int64_t> order =
      random_permutation(num_samples, seed, DrawPurpose::kValidationSplit, /*epoch=*/0);
  const auto boundary = order.begin() + num_validation;
  std::sort(order.begin(), boundary);
  std::sort(boundary, order.end());
  return {.train = {boundary, order.end()}, .validation = {order.begin(), boundary}};
}

}  // namespace lora_dist
