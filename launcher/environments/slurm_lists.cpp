#include "launcher/environments/slurm_lists.hpp"

#include <charconv>

namespace lora_dist {
namespace {

/// Reads digits at `position` and moves behind them.
std::optional<int> read_number(const std::string& text, size_t& position) {
  int value = 0;
  const auto [end, error] =
      std::from_chars(text.data() + position, text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  position = end - text.data();
  return value;
}

}  // namespace

std::string first_host(const std::string& node_list) {
  const size_t bracket = node_list.find_first_of("[,");
  if (bracket == std::string::npos || node_list[bracket] == ',')
    return node_list.substr(0, bracket);
  const size_t number_end = node_list.find_first_of("-,]", bracket);
  const size_t close = node_list.find(']', bracket);
  if (number_end == std::string::npos || close == std::string::npos) return node_list;
  const size_t suffix_end = std::min(node_list.find(',', close), node_list.size());
  return node_list.substr(0, bracket) + node_list.substr(bracket + 1, number_end - bracket - 1) +
         node_list.substr(close + 1, suffix_end - close - 1);
}

std::optional<int> tasks_on_host(const std::string& tasks_per_node, int host) {
  for (size_t position = 0; position < tasks_per_node.size(); ++position) {  // steps over the comma
    const std::optional<int> tasks = read_number(tasks_per_node, position);
    if (!tasks) return std::nullopt;
    int repeated = 1;
    if (tasks_per_node.compare(position, 2, "(x") == 0) {
      position += 2;
      repeated = read_number(tasks_per_node, position).value_or(1);
      ++position;  // the closing bracket
    }
    if (host < repeated) return tasks;
    host -= repeated;
  }
  return std::nullopt;
}

}  // namespace lora_dist
