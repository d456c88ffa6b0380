#include "core/base/error.hpp"
#include "data/sources/source_format.hpp"

namespace lora_dist {

#define LORA_DIST_SOURCE(name) SourceFormat name##_source();
#include "data/sources/sources.def"
#undef LORA_DIST_SOURCE

const Registry<SourceFormat>& source_formats() {
  static const Registry<SourceFormat> registry("data_format", {
#define LORA_DIST_SOURCE(name) {#name, name##_source()},
#include "data/sources/sources.def"
#undef LORA_DIST_SOURCE
                                                              });
  return registry;
}

bool Source::skip() {
  try {
    return next().has_value();
  } catch (const DataError&) {
    return true;
  }
}

std::unique_ptr<Source> open_source(const std::string& path, const std::string& format) {
  return source_formats().at(format).open(path);
}

}  // namespace lora_dist
