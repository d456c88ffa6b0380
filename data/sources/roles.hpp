// The roles of a conversation as other tools spell them.
#pragma once

#include <optional>
#include <string>

namespace lora_dist {

/// system, user or assistant; nothing for a role that is not known.
std::optional<std::string> standard_role(const std::string& name);

}  // namespace lora_dist
