#include "launcher/environments/typed_command.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

constexpr const char* kTyped = "LORA_DIST_TYPED_COMMAND";

std::string own_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::string> words;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\0', begin), bytes.size());
    words.push_back(bytes.substr(begin, end - begin));
    begin = end + 1;
  }
  return shell_text(words);
}

bool is_plain(const std::string& word) {
  return !word.empty() && word.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789_-+=./:,@%") == std::string::npos;
}

}  // namespace

std::string typed_command(const WorldInfo& world) {
  // Only mpirun starts ranks for --ranks; elsewhere the variable is left over from such a rank.
  const auto typed = world.launcher == "mpirun" ? variable(kTyped) : std::nullopt;
  return typed.value_or(own_command());
}

void hand_on_typed_command() { setenv(kTyped, own_command().c_str(), /*overwrite=*/1); }

std::string shell_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    if (is_plain(word)) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) {
      if (c == '\'')
        text += "'\\''";
      else
        text += c;
    }
    text += '\'';
  }
  return text;
}

}  // namespace lora_dist
