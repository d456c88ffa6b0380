// Sizes and counts as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace lora_dist {

/// "1.20 GB", "12.3 MB", "4.5 kB", "17 bytes"; powers of ten.
std::string bytes_text(uint64_t bytes);
/// "139 GiB", "31.2 GiB", "0.28 GiB": memory, in powers of two.
std::string gib_text(int64_t bytes);
/// "2.76 B", "134.50 M", "12.3 k", "512".
std::string count_text(int64_t count);
/// "1 h 02 min", "3 min 20 s", "8 s".
std::string duration_text(double seconds);

}  // namespace lora_dist
