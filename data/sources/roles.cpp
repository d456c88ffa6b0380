#include "data/sources/roles.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "data/sources/openings.hpp"

namespace lora_dist {

std::optional<std::string> standard_role(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, const char*>, 13> kRoles = {
      {{"system", "system"},
       {"developer", "system"},
       {"user", "user"},
       {"human", "user"},
       {"assistant", "assistant"},
       {"gpt", "assistant"},
       {"chatgpt", "assistant"},
       {"bot", "assistant"},
       {"chatbot", "assistant"},
       {"model", "assistant"},
       {"系统", "system"},
       {"用户", "user"},
       {"助手", "assistant"}}};
  const std::string lower = lower_case(name);
  for (const auto& [known, role] : kRoles)
    if (known == lower) return role;
  return std::nullopt;
}

}  // namespace lora_dist
