#include "launcher/environments/hosts.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include <sys/mman.h>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

constexpr int kMostSlots = 100'000;  // of a host; beyond it somebody wrote something else
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// Open MPI's words for slots, and those that this program hands on as they are.
constexpr std::string_view kSlotWords[] = {"slots", "slot", "count", "cpu", "cpus"};
constexpr std::string_view kOtherWords[] = {"max_slots", "max-slots", "slots_max", "count_max",
                                            "cpu_max",   "username",  "user_name", "user-name",
                                            "port",      "boards",    "sockets",   "cores"};

[[noreturn]] void refuse_hosts(const std::string& where, const std::string& found,
                               const std::string& expected) {
  throw ConfigError({.where = where,
                     .found = found,
                     .expected = expected,
                     .fix = "write a host and its ranks, as `host1 slots=8` in a file or host1:8"});
}

int parse_slots(const std::string& text, const std::string& where) {
  int slots = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), slots);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (is_number && slots >= 1 && slots <= kMostSlots) return slots;
  refuse_hosts(where, fmt::format("slots '{}'", printable(text)), "a whole number from 1 on");
}

/// "a", "a:8", "fe80::1".
NamedHost parse_host(const std::string& text, const std::string& where) {
  const size_t colon = text.find(':');
  NamedHost host{.name = text, .slots = std::nullopt, .rest = {}};
  if (colon != std::string::npos && text.find(':', colon + 1) == std::string::npos) {
    host.name = text.substr(0, colon);
    host.slots = parse_slots(text.substr(colon + 1), where);
  }
  const bool is_name = !host.name.empty() && std::ranges::all_of(host.name, [](unsigned char c) {
    return std::isalnum(c) != 0 || std::strchr("-._@%:+", c) != nullptr;
  });
  if (!is_name)
    refuse_hosts(where, fmt::format("host '{}'", printable(host.name)), "a host's name");
  return host;
}

/// "slots = 8" is one word to mpirun.
std::string without_blanks_around_equals(const std::string& line) {
  std::string joined;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const bool joins = joined.ends_with('=') || word.starts_with('=');
    joined += (joined.empty() || joins ? "" : " ") + word;
  }
  return joined;
}

template <class Words>
bool is_one_of(const Words& words, const std::string& word) {
  return std::ranges::find(words, word) != std::end(words);
}

NamedHost parse_line(const std::string& line, const std::string& where) {
  std::istringstream words(without_blanks_around_equals(line));
  std::string word;
  words >> word;
  NamedHost host = parse_host(word, where);
  while (words >> word) {
    const size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    if (equals != std::string::npos && is_one_of(kSlotWords, key)) {
      host.slots = parse_slots(word.substr(equals + 1), where);
    } else if (equals != std::string::npos && is_one_of(kOtherWords, key)) {
      host.rest += " " + word;
    } else {
      refuse_hosts(where, fmt::format("unknown word '{}'", printable(word)), "slots=N");
    }
  }
  return host;
}

std::string read_hostfile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::error_code ignored;
  if (file.is_open() && !file.bad() && !std::filesystem::is_directory(path, ignored)) return text;
  throw ConfigError({.where = "--hostfile",
                     .found = fmt::format("cannot read '{}'", path),
                     .expected = {},
                     .fix = "give it a file with lines such as `host1 slots=8`"});
}

}  // namespace

std::vector<NamedHost> parse_hosts(const std::string& list) {
  std::vector<NamedHost> hosts;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    hosts.push_back(parse_host(word, "--hosts"));
    if (word.find(':') == std::string::npos) hosts.back().slots = 1;
  }
  return hosts;
}

std::vector<NamedHost> parse_hostfile(const std::string& text, const std::string& path) {
  std::vector<NamedHost> hosts;
  std::map<std::string, int> first_line;  // of each host
  std::istringstream lines(text.starts_with(kByteOrderMark) ? text.substr(kByteOrderMark.size())
                                                            : text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{}:{}", path, number);
    hosts.push_back(parse_line(line, where));
    const NamedHost& host = hosts.back();
    const auto [before, is_new] = first_line.emplace(host.name, number);
    // mpirun takes a host's lines for its slots where none of them counts any.
    const bool counts = std::ranges::any_of(hosts, [&](const NamedHost& other) {
      return other.name == host.name && other.slots.has_value();
    });
    if (!is_new && counts)
      refuse_hosts(where, fmt::format("host '{}' again, after line {}", host.name, before->second),
                   "one line for each host, with all its slots");
  }
  if (hosts.empty()) refuse_hosts(path, "no host in it", "one host a line");
  return hosts;
}

std::vector<NamedHost> named_hosts(const LaunchRequest& request) {
  if (request.hostfile.empty()) return parse_hosts(request.hosts);
  return parse_hostfile(read_hostfile(request.hostfile), request.hostfile);
}

HostfileCopy::HostfileCopy(const std::vector<NamedHost>& hosts) {
  std::string text;
  for (const NamedHost& host : hosts) {
    text += host.name;
    if (host.slots) text += fmt::format(" slots={}", *host.slots);
    text += host.rest + "\n";
  }
  fd_ = memfd_create("lora-dist-hosts", 0);
  if (fd_ >= 0 && write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size())) return;
  if (fd_ >= 0) close(fd_);
  throw MemoryError({.where = "--hostfile",
                     .found = fmt::format("no memory for a copy ({})", std::strerror(errno)),
                     .expected = {},
                     .fix = "free memory or raise the limit of open files"});
}

HostfileCopy::~HostfileCopy() { close(fd_); }

std::string HostfileCopy::path() const { return fmt::format("/dev/fd/{}", fd_); }

}  // namespace lora_dist
