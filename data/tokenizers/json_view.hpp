// Checked access to a parsed tokenizer file: every complaint names the file and the place in it.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/base/registry.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {

/// A JSON value with its address, "base/tokenizer.json" and "pre_tokenizer.pretokenizers[0]". Does
/// not own the value.
class JsonView {
 public:
  JsonView(const nlohmann::json& value, std::string file, std::string place = {})
      : value_(&value), file_(std::move(file)), place_(std::move(place)) {}

  const nlohmann::json& json() const { return *value_; }
  const std::string& file() const { return file_; }

  /// Is `key` there, and not null?
  bool has(const std::string& key) const;
  /// The members below throw ModelError: the key is missing or of another type.
  JsonView at(const std::string& key) const;
  std::string text(const std::string& key) const;
  bool boolean(const std::string& key) const;
  bool boolean(const std::string& key, bool fallback) const;
  int64_t integer(const std::string& key) const;
  std::vector<JsonView> items(const std::string& key) const;

  /// Throws ModelError "<file>: <place>: <found>, expected ...; <fix>".
  [[noreturn]] void fail(const std::string& found, const std::string& expected = {},
                         const std::string& fix = {}) const;

 private:
  const nlohmann::json* value_;
  std::string file_;
  std::string place_;
};

/// The factory of a component by its "type". Errors  ModelError with the known types.
template <class Factory>
const Factory& component(const Registry<Factory>& known, const std::string& kind,
                         const JsonView& spec) {
  const std::string type = spec.text("type");
  if (const Factory* factory = known.find(type)) return *factory;
  throw ModelError({.where = spec.file(),
                    .found = fmt::format("{} '{}' is not supported", kind, printable(type)),
                    .expected = {},
                    .fix = fmt::format("known: {}", fmt::join(known.names(), ", "))});
}

}  // namespace lora_dist
