#include "data/exports/dialect.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

void sort_by_name(NamedTensors& tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
}

}  // namespace

const AdapterDialect* find_dialect(const std::string& path) {
  for (const std::string_view name : exports().names()) {
    const AdapterDialect& dialect = exports().at(name)();
    if (dialect.recognises(path)) return &dialect;
  }
  return nullptr;
}

NamedTensors in_dialect(const AdapterDialect& dialect, const NamedTensors& tensors) {
  NamedTensors renamed;
  for (const auto& [name, tensor] : tensors)
    renamed.emplace_back(dialect.key_of(ModuleRole::of(name)), tensor);
  sort_by_name(renamed);
  return renamed;
}

NamedTensors from_dialect(const AdapterDialect& dialect, const NamedTensors& tensors,
                          const std::string& where) {
  NamedTensors renamed;
  for (const auto& [key, tensor] : tensors) {
    const std::optional<ModuleRole> place = dialect.parse(key);
    if (!place)
      throw ModelError(
          {where, fmt::format("tensor '{}' is none of an adapter", printable(key, 256)), {}, {}});
    renamed.emplace_back(place->name(), tensor);
  }
  sort_by_name(renamed);
  return renamed;
}

}  // namespace lora_dist
