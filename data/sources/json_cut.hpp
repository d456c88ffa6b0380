// Cuts JSON values out of a file by their structure, without building them.
#pragma once

#include "data/sources/byte_window.hpp"

namespace lora_dist {

struct JsonCut {
  enum State : uint8_t { kWhole, kBroken, kTooLong };
  State state = kWhole;
  /// One past the value; of a broken one the place of what cannot stand there (or the end of the
  /// file); of one that is too long where the limit was met.
  size_t end = 0;
};

/// The value that begins at `begin`. Commas, colons, brackets and quotes must be where JSON has
/// them, so that a stray quote shows at once and not at the end of the file; numbers and escapes
/// are left to the parser.
JsonCut cut_json_value(ByteWindow& bytes, size_t begin, size_t max_bytes);

}  // namespace lora_dist
