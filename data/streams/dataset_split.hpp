// Which samples of a data set are held out of training.
#pragma once

#include <cstdint>
#include <vector>

#include "data/samples/dataset.hpp"

namespace lora_dist {

struct Split {
  std::vector<int64_t> train, validation;  // sample numbers of the data set, ascending
};
/// `val_size` below 1 is a share (rounded up), else a count; drawn by a counter-based stream from
/// `seed`. Errors  ConfigError: nothing would be left to train on.
Split split_dataset(const Dataset& dataset, double val_size, int64_t seed);

}  // namespace lora_dist
