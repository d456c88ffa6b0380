// How a unit of frozen weights lies in memory and is cut into one slice per rank.
//
// The unit's matrices, as stored, one after the other, filled up so that all slices are equally
// long: an all-gather of the slices is the unit. Vectors (norms, biases: about 0.01 % of a base)
// are not cut, every rank has them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/sockets/weight_source.hpp"

namespace lora_dist {

struct UnitLayout {
  struct Matrix {
    size_t index = 0;  // in weights()
    int64_t begin = 0, bytes = 0;
  };
  std::vector<Matrix> matrices;  // in the order of memory
  int64_t slice_bytes = 0;       // of one rank
};

inline bool is_cut(const WeightInfo& weight) { return weight.shape.size() >= 2; }

/// [unit].
std::vector<UnitLayout> unit_layouts(const WeightSource& source, const WeightUnits& units,
                                     int num_ranks);

}  // namespace lora_dist
