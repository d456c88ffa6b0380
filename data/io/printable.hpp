// Text from data files as it may appear in messages.
#pragma once

#include <string>
#include <string_view>

namespace lora_dist {

/// Cut to `max_bytes` at a character boundary, with control characters and broken UTF-8 escaped: a
/// file can neither forge a log line nor drive a terminal.
std::string printable(std::string_view text, size_t max_bytes = 64);

/// On one line of at most `columns` of a terminal, where a Chinese character takes two: line ends
/// and tabs as \n and \t, other control characters escaped, the middle left out where it is longer.
std::string one_line(std::string_view text, size_t columns);

/// Position of the first byte that is not part of valid UTF-8, or npos.
size_t first_invalid_utf8(std::string_view text);

}  // namespace lora_dist
