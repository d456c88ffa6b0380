// TensorBoard's file format: protobuf events in length-prefixed records with checksums
// (formats 9.5).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lora_dist {

/// CRC32C (Castagnoli, reflected polynomial 0x82f63b78).
uint32_t crc32c(std::string_view bytes);

/// A record: length, its masked checksum, payload, its masked checksum.
std::string event_record(std::string_view payload);
/// Payload of the first record of a file.
std::string file_version_event(double wall_time_s);
/// Payload that starts a session at `step`: readers drop what they have from that step on.
std::string session_start_event(double wall_time_s, int64_t step);
/// Payload with scalars (tag, value) of one step.
std::string scalars_event(double wall_time_s, int64_t step,
                          const std::vector<std::pair<std::string, double>>& scalars);

}  // namespace lora_dist
