#include "data/reports/event_records.hpp"

#include <array>
#include <bit>

namespace lora_dist {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    table[byte] = crc;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

template <class Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(Unsigned); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

/// Checksums are masked because records with embedded checksums are checked by checksums again.
std::string masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return little_endian(((crc >> 15) | (crc << 17)) + 0xa282ead8u);
}

// Protobuf: a field starts with number << 3 | wire type; 0 is a varint, 1 eight bytes, 2 counted
// bytes, 5 four bytes.

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string field_key(uint64_t number, uint64_t wire_type) {
  return varint(number << 3 | wire_type);
}

std::string double_field(uint64_t number, double value) {
  return field_key(number, 1) + little_endian(std::bit_cast<uint64_t>(value));
}

std::string float_field(uint64_t number, float value) {
  return field_key(number, 5) + little_endian(std::bit_cast<uint32_t>(value));
}

std::string integer_field(uint64_t number, int64_t value) {
  return field_key(number, 0) + varint(static_cast<uint64_t>(value));
}

std::string bytes_field(uint64_t number, std::string_view bytes) {
  return field_key(number, 2) + varint(bytes.size()) + std::string(bytes);
}

constexpr uint64_t kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5,
                   kEventSessionLog = 7;
constexpr uint64_t kSessionStatus = 1;
constexpr int64_t kSessionStart = 1;
constexpr uint64_t kSummaryValue = 1;
constexpr uint64_t kValueTag = 1, kValueSimple = 2;

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char byte : bytes)
    crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

std::string event_record(std::string_view payload) {
  const std::string length = little_endian(uint64_t{payload.size()});
  return length + masked_crc(length) + std::string(payload) + masked_crc(payload);
}

std::string file_version_event(double wall_time_s) {
  return double_field(kEventWallTime, wall_time_s) +
         bytes_field(kEventFileVersion, "brain.Event:2");
}

std::string session_start_event(double wall_time_s, int64_t step) {
  return double_field(kEventWallTime, wall_time_s) + integer_field(kEventStep, step) +
         bytes_field(kEventSessionLog, integer_field(kSessionStatus, kSessionStart));
}

std::string scalars_event(double wall_time_s, int64_t step,
                          const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars)
    summary += bytes_field(kSummaryValue, bytes_field(kValueTag, tag) +
                                              float_field(kValueSimple, static_cast<float>(value)));
  return double_field(kEventWallTime, wall_time_s) + integer_field(kEventStep, step) +
         bytes_field(kEventSummary, summary);
}

}  // namespace lora_dist
