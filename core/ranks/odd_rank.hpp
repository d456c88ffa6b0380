// Which rank is not like the others.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace lora_dist {

struct OddRank {
  int rank = 0;       // the lowest one that differs
  int reference = 0;  // the lowest one of the majority
};

/// `values` is [rank]; nothing where all are equal. Where no value leads, the lowest rank is right.
inline std::optional<OddRank> find_odd_rank(const std::vector<std::string>& values) {
  const auto votes = [&](const std::string& value) {
    return std::count(values.begin(), values.end(), value);
  };
  size_t reference = 0;
  for (size_t rank = 1; rank < values.size(); ++rank)
    if (votes(values[rank]) > votes(values[reference])) reference = rank;
  for (size_t rank = 0; rank < values.size(); ++rank)
    if (values[rank] != values[reference])
      return OddRank{static_cast<int>(rank), static_cast<int>(reference)};
  return std::nullopt;
}

}  // namespace lora_dist
