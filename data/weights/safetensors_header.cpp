#include "data/weights/safetensors_header.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/base/error.hpp"
#include "core/base/shape_text.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

constexpr uint64_t kLengthBytes = 8;

/// Where a tensor lies, counted from the start of the data as in the file.
struct Extent {
  std::string name;
  uint64_t begin = 0;
  uint64_t end = 0;
};

[[noreturn]] void fail(const std::string& path, std::string found, std::string expected = {},
                       std::string fix = {}) {
  throw ModelError({path, std::move(found), std::move(expected), std::move(fix)});
}

bool starts_with_word(std::string_view file, std::string_view word) {
  const size_t first = file.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || file.size() - first < word.size()) return false;
  return std::equal(
      word.begin(), word.end(), file.begin() + static_cast<std::ptrdiff_t>(first),
      [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

/// What people save under the name of a weight file by mistake. Asked only when the first 8 bytes
/// are no possible length, so that no real file is mistaken for one of these.
void refuse_other_kinds(std::string_view file, const std::string& path) {
  static constexpr std::string_view kConvert =
      "pickles are never read, convert with safetensors' convert script";
  using namespace std::string_view_literals;
  if (file.starts_with("PK\x03\x04"sv))
    fail(path, "a PyTorch pickle (zip)", {}, std::string(kConvert));
  if (file.starts_with("\x80\x02"sv)) fail(path, "a Python pickle", {}, std::string(kConvert));
  if (file.starts_with("version https://git-lfs.github.com/spec/"sv))
    fail(path, fmt::format("Git LFS pointer ({} bytes), not the file", file.size()), {},
         "run `git lfs pull`");
  if (starts_with_word(file, "<!doctype html") || starts_with_word(file, "<html"))
    fail(path, "an HTML page, not weights", {}, "download again, perhaps a login is needed");
}

uint64_t little_endian_u64(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kLengthBytes; ++i)
    value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

/// The JSON text between length and data.
std::string_view header_text(std::string_view file, const std::string& path) {
  if (file.size() < kLengthBytes)
    fail(path, fmt::format("{} bytes", file.size()), "a safetensors header of at least 8",
         "download again");
  const uint64_t length = little_endian_u64(file);
  if (length > kMaxSafetensorsHeaderBytes) {
    refuse_other_kinds(file, path);
    fail(path, fmt::format("header of {} bytes, limit {}", length, kMaxSafetensorsHeaderBytes), {},
         "not a safetensors file");
  }
  if (length > file.size() - kLengthBytes)
    fail(path, fmt::format("header of {} bytes, file has {}", length, file.size()), {},
         "download again");
  const std::string_view text = file.substr(kLengthBytes, length);
  if (text.empty()) fail(path, "header of 0 bytes", "a JSON object");
  if (text[0] != '{')
    fail(path, fmt::format("header starts with {:#04x}", static_cast<unsigned char>(text[0])),
         "'{'");
  return text;
}

nlohmann::json parse_header(std::string_view text, const std::string& path) {
  // Writers fill up with spaces and with nothing else.
  const std::string_view filled = text.substr(0, text.find_last_not_of(' ') + 1);
  const auto last = static_cast<unsigned char>(filled.back());
  if (last == '\n' || last == '\r' || last == '\t')
    fail(path, fmt::format("header ends with {:#04x}", last), "'}' and spaces");
  try {
    return parse_json<nlohmann::json>(filled);
  } catch (const JsonFault& fault) {
    if (fault.depth == 1 && !fault.repeated_key.empty())
      fail(path, fmt::format("tensor '{}' listed twice", printable(fault.repeated_key, 256)));
    const std::string place =
        fault.byte == 0 ? "header" : fmt::format("header byte {}", fault.byte);
    fail(path, fmt::format("{}: {}", place, fault.found), fault.expected);
  }
}

std::map<std::string, std::string> read_metadata(const nlohmann::json& value,
                                                 const std::string& path) {
  if (!value.is_object())
    fail(path, fmt::format("__metadata__ is {}", json_kind(value.type())), "an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      fail(path, fmt::format("__metadata__ '{}' is {}", printable(key), json_kind(text.type())),
           "a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

const nlohmann::json& member(const nlohmann::json& entry, const char* key,
                             const std::string& place) {
  const auto found = entry.find(key);
  if (found == entry.end()) fail(place, fmt::format("'{}' is missing", key));
  return *found;
}

uint64_t count(const nlohmann::json& value, const char* what, const std::string& place) {
  if (!value.is_number_unsigned())
    fail(place, fmt::format("{} holds {}", what, printable(value.dump())), "whole numbers from 0");
  return value.get<uint64_t>();
}

const StoredFormat* read_format(const nlohmann::json& entry, const std::string& place) {
  const auto& value = member(entry, "dtype", place);
  if (!value.is_string())
    fail(place, fmt::format("dtype is {}", printable(value.dump())), "a text");
  const auto name = value.get<std::string>();
  const StoredFormat* format = find_format(name);
  if (!format || !format->plain) fail(place, fmt::format("dtype '{}' is unknown", printable(name)));
  return format;
}

std::vector<int64_t> read_shape(const nlohmann::json& entry, const std::string& place) {
  const auto& value = member(entry, "shape", place);
  if (!value.is_array()) fail(place, fmt::format("shape is {}", json_kind(value.type())), "a list");
  // The product must fit with room for 16 bytes per element; a zero does not excuse the other
  // dimensions.
  constexpr uint64_t kMaxElements = uint64_t{1} << 59;
  std::vector<int64_t> shape;
  uint64_t product = 1;
  bool overflows = false;
  for (const auto& item : value) {
    const uint64_t size = count(item, "shape", place);
    overflows = overflows || size > kMaxElements || (size != 0 && product > kMaxElements / size);
    if (size != 0 && !overflows) product *= size;
    shape.push_back(static_cast<int64_t>(size));
  }
  if (overflows) fail(place, fmt::format("shape {} overflows", shape_text(shape)));
  return shape;
}

Extent read_extent(const nlohmann::json& entry, const WeightInfo& info, const std::string& place) {
  const auto& value = member(entry, "data_offsets", place);
  if (!value.is_array() || value.size() != 2)
    fail(place, fmt::format("data_offsets is {}", printable(value.dump())), "[begin, end]");
  const Extent extent{info.name, count(value[0], "data_offsets", place),
                      count(value[1], "data_offsets", place)};
  if (extent.begin > extent.end)
    fail(place, fmt::format("starts at {} and ends at {}", extent.begin, extent.end));
  const auto bytes = static_cast<uint64_t>(stored_bytes(info));
  if (extent.end - extent.begin != bytes)
    fail(place,
         fmt::format("{} bytes for {} {}", extent.end - extent.begin, shape_text(info.shape),
                     info.format->name),
         fmt::format("{}", bytes));
  return extent;
}

/// Sorted by place, the tensors start at 0, touch, and end with the file: no overlap (a memory
/// bomb), no hole (a second file hidden in the first).
void check_layout(const std::vector<Extent>& extents, uint64_t data_begin, uint64_t file_bytes,
                  const std::string& path) {
  std::vector<const Extent*> sorted;
  for (const Extent& extent : extents) sorted.push_back(&extent);
  std::sort(sorted.begin(), sorted.end(), [](const Extent* a, const Extent* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t position = 0;
  const Extent* before = nullptr;
  for (const Extent* extent : sorted) {
    if (extent->begin < position)
      fail(path, fmt::format("tensor '{}' starts at {}, inside '{}' [{}, {})",
                             printable(extent->name, 256), extent->begin,
                             printable(before->name, 256), before->begin, before->end));
    if (extent->begin > position)
      fail(path, fmt::format("bytes {} to {} belong to no tensor", position, extent->begin - 1));
    position = extent->end;
    before = extent;
    if (position > file_bytes - data_begin)
      fail(path,
           fmt::format("tensor '{}' ends at {}, file has {}", printable(extent->name, 256),
                       data_begin + position, file_bytes),
           {}, "download again");
  }
  if (position < file_bytes - data_begin)
    fail(path, fmt::format("{} bytes after the last tensor", file_bytes - data_begin - position));
}

}  // namespace

SafetensorsHeader read_safetensors_header(std::string_view file, const std::string& path) {
  const std::string_view text = header_text(file, path);
  const uint64_t data_begin = kLengthBytes + text.size();
  const nlohmann::json json = parse_header(text, path);

  SafetensorsHeader header;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : json.items()) {  // std::map: in name order
    if (name == "__metadata__") {
      header.metadata = read_metadata(entry, path);
      continue;
    }
    const std::string place = fmt::format("{}: tensor '{}'", path, printable(name, 256));
    if (!entry.is_object()) fail(place, fmt::format("is {}", json_kind(entry.type())), "an object");
    WeightInfo info{name, read_format(entry, place), read_shape(entry, place)};
    extents.push_back(read_extent(entry, info, place));
    header.begins.push_back(data_begin + extents.back().begin);
    header.weights.push_back(std::move(info));
  }
  check_layout(extents, data_begin, file.size(), path);
  return header;
}

}  // namespace lora_dist
