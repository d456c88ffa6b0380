#include "core/base/error.hpp"
#include "core/weights/stored_format.hpp"

namespace lora_dist {
namespace {

StoredFormat elements_of(std::string_view name, at::ScalarType type) {
  return {.name = name, .block_bytes = static_cast<int64_t>(c10::elementSize(type)), .plain = type};
}

}  // namespace

#define LORA_DIST_PLAIN(name, type)
#define LORA_DIST_PACKED(name) StoredFormat name##_format();
#include "core/weights/formats.def"
#undef LORA_DIST_PACKED
#undef LORA_DIST_PLAIN

const std::vector<StoredFormat>& stored_formats() {
#define LORA_DIST_PLAIN(name, type) elements_of(#name, at::ScalarType::type),
#define LORA_DIST_PACKED(name) name##_format(),
  static const std::vector<StoredFormat> formats = {
#include "core/weights/formats.def"
  };
#undef LORA_DIST_PACKED
#undef LORA_DIST_PLAIN
  return formats;
}

const StoredFormat* find_format(std::string_view name) {
  for (const StoredFormat& format : stored_formats())
    if (format.name == name) return &format;
  return nullptr;
}

const StoredFormat& plain_format(at::ScalarType dtype) {
  for (const StoredFormat& format : stored_formats())
    if (format.plain == dtype) return format;
  LD_CHECK(false, fmt::format("no stored format for {}", c10::toString(dtype)));
}

}  // namespace lora_dist
