#include "launcher/run/life.hpp"

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "data/reports/git_id.hpp"

namespace lora_dist {
namespace {

std::vector<std::string> own_command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::string> words;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\0', begin), bytes.size());
    words.push_back(bytes.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

bool is_plain(const std::string& word) {
  return !word.empty() && word.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789_-+=./:,@%") == std::string::npos;
}

// The first of these places that lies in a repository: where the run is started, then its configs.
std::optional<GitId> find_git_id(const Config& config) {
  std::error_code problem;
  if (auto id = git_id_of(std::filesystem::current_path(problem).string())) return id;
  for (const auto& [key, origin] : config.origins) {
    const std::string file = origin.substr(0, origin.rfind(':'));
    if (!std::filesystem::is_regular_file(file, problem)) continue;
    return git_id_of(file);
  }
  return std::nullopt;
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[sizeof "2026-12-01T09:30:00Z"] = "";
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

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

nlohmann::ordered_json describe_life(const Config& config, const WorldInfo& world,
                                     const std::vector<std::string>& hosts) {
  nlohmann::ordered_json life = {{"version", LORA_DIST_VERSION},
                                 {"started", utc_now()},
                                 {"command", shell_text(own_command_line())},
                                 {"config", config.source},
                                 {"launcher", world.launcher},
                                 {"world_size", world.world_size},
                                 {"hosts", hosts}};
  if (const std::optional<GitId> git = find_git_id(config)) {
    life["git"] = {{"commit", git->commit}};
    if (!git->branch.empty()) life["git"]["branch"] = git->branch;
  }
  return life;
}

}  // namespace lora_dist
