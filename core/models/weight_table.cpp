#include "core/models/weight_table.hpp"

#include <algorithm>
#include <numeric>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/shape_text.hpp"

namespace lora_dist {
namespace {

constexpr size_t kLongestShownName = 200;

// "a, b, c, ...", at most three of them.
std::string first_of(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 3);
  return fmt::format("{}{}",
                     fmt::join(names.begin(), names.begin() + static_cast<int64_t>(shown), ", "),
                     names.size() > shown ? ", ..." : "");
}

std::string tensors_text(size_t count) {
  return fmt::format("{} tensor{}", count, count == 1 ? "" : "s");
}

std::unordered_map<std::string, size_t> places_of(const WeightSource& source) {
  std::unordered_map<std::string, size_t> places;
  for (size_t i = 0; i < source.weights().size(); ++i) places[source.weights()[i].name] = i;
  return places;
}

}  // namespace

void WeightTable::add(WeightRow row) {
  index_[row.name] = rows_.size();
  num_units_ = std::max(num_units_, row.unit + 1);
  rows_.push_back(std::move(row));
}

const WeightRow* WeightTable::find(const std::string& name) const {
  const auto place = index_.find(name);
  return place == index_.end() ? nullptr : &rows_[place->second];
}

bool WeightTable::ignores(const std::string& name) const {
  return std::any_of(ignored_.begin(), ignored_.end(),
                     [&](const std::string& ending) { return name.ends_with(ending); });
}

int64_t WeightTable::num_parameters() const {
  int64_t total = 0;
  for (const WeightRow& row : rows_) total += c10::multiply_integers(row.shape);
  return total;
}

std::vector<std::string> WeightTable::linear_modules() const {
  std::vector<std::string> modules;
  for (const WeightRow& row : rows_)
    if (row.role == WeightRole::linear) modules.push_back(row.module());
  return modules;
}

int64_t WeightTable::lowest_depth(const std::vector<std::string>& modules, int64_t none) const {
  int64_t lowest = none;
  for (const std::string& module : modules) {
    const WeightRow* row = linear(module);
    LD_CHECK(row, "a module without a weight: " + module);
    lowest = std::min(lowest, row->depth);
  }
  return lowest;
}

void TableScope::linear(const std::string& part, int64_t out, int64_t in, bool bias) const {
  const std::string path = path_ + "." + part;
  table_.add({path + ".weight", {out, in}, WeightRole::linear, unit_, depth_});
  if (bias) table_.add({path + ".bias", {out}, WeightRole::bias, unit_, depth_});
}

void TableScope::norm(const std::string& part, int64_t width) const {
  table_.add({path_ + "." + part + ".weight", {width}, WeightRole::norm, unit_, depth_});
}

std::unordered_map<std::string, size_t> match_weights(const WeightTable& table,
                                                      const WeightSource& source,
                                                      const std::string& model_type) {
  std::unordered_map<std::string, size_t> places = places_of(source);
  std::vector<std::string> missing, unused;
  for (const WeightRow& row : table.rows()) {
    const auto place = places.find(row.name);
    if (place == places.end()) {
      missing.push_back(row.name);
    } else if (source.weights()[place->second].shape != row.shape) {
      throw ModelError({.where = source.location(),
                        .found = fmt::format("'{}' is {}", row.name,
                                             shape_text(source.weights()[place->second].shape)),
                        .expected = fmt::format("{} by config.json", shape_text(row.shape)),
                        .fix = "weights and config.json belong to different models"});
    }
  }
  if (!missing.empty())
    throw ModelError(
        {.where = source.location(),
         .found = fmt::format("{} missing: {}", tensors_text(missing.size()), first_of(missing)),
         .expected = {},
         .fix = "wrong or incomplete base"});
  for (const WeightInfo& weight : source.weights()) {
    if (!table.find(weight.name) && !table.ignores(weight.name))
      unused.push_back(weight.name.substr(0, kLongestShownName));
  }
  if (!unused.empty())
    log_warning(fmt::format("{}: not used, for no layer of '{}' has them: {}: {}",
                            source.location(), model_type, tensors_text(unused.size()),
                            first_of(unused)));
  return places;
}

WeightUnits weight_units(const WeightTable& table, const WeightSource& source) {
  const std::unordered_map<std::string, size_t> places = places_of(source);
  WeightUnits units(table.num_units());
  for (const WeightRow& row : table.rows()) {
    const auto place = places.find(row.name);
    if (place != places.end()) units[row.unit].push_back(place->second);
  }
  return units;
}

}  // namespace lora_dist
