// Lines that stand between two dialogues of a plain-text file.
#pragma once

#include <string_view>

namespace lora_dist {

/// Three or more dashes and the like: "---", "***", "======", "———".
bool is_rule(std::string_view text);
/// Whether a line behind a blank one stands between two dialogues and is no further paragraph of an
/// answer: short, and not ended like a sentence.
bool is_title(std::string_view text);

}  // namespace lora_dist
