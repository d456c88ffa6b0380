// A named table of factories: one screen of names, filled from a .def file (see
// core/optimizers/registry.cpp).
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/error.hpp"

namespace lora_dist {

template <class Factory>
class Registry {
 public:
  /// `kind` is the singular noun that messages use: "optimizer", "backend".
  Registry(std::string kind, std::initializer_list<std::pair<std::string_view, Factory>> entries)
      : kind_(std::move(kind)), entries_(entries) {}

  const Factory* find(std::string_view name) const {
    for (const auto& [known, factory] : entries_)
      if (known == name) return &factory;
    return nullptr;
  }

  /// Errors  ConfigError with the nearest and all known names.
  const Factory& at(std::string_view name) const {
    if (const Factory* factory = find(name)) return *factory;
    const std::string near = nearest_name(std::string(name), names());
    throw ConfigError({.where = kind_,
                       .found = fmt::format("unknown {} '{}'", kind_, name),
                       .expected = {},
                       .fix = (near.empty() ? "" : fmt::format("did you mean '{}'? ", near)) +
                              fmt::format("known: {}", fmt::join(names(), ", "))});
  }

  std::vector<std::string_view> names() const {
    std::vector<std::string_view> result;
    for (const auto& [name, factory] : entries_) result.push_back(name);
    return result;
  }

 private:
  std::string kind_;
  std::vector<std::pair<std::string_view, Factory>> entries_;
};

}  // namespace lora_dist
