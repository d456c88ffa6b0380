#include "launcher/environments/failed_start.hpp"

#include <netdb.h>

#include <fstream>
#include <sstream>

#include "core/error.hpp"

namespace lora_dist {
namespace {

constexpr int kDidNotBegin = 1, kHostNotReached = 255;  // mpirun's

std::optional<int> number(const std::string& text) {
  std::istringstream stream(text);
  int value = 0;
  if (stream >> value && value > 0) return value;
  return std::nullopt;
}

/// "a" or "a:8".
NamedHost parse_host(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return {.name = text, .slots = std::nullopt};
  return {.name = text.substr(0, colon), .slots = number(text.substr(colon + 1))};
}

bool has_address(const std::string& host) {
  addrinfo* found = nullptr;
  const bool known = getaddrinfo(host.c_str(), nullptr, nullptr, &found) == 0;
  if (known) freeaddrinfo(found);
  return known;
}

std::vector<NamedHost> named_hosts(const LaunchRequest& request) {
  if (request.hostfile.empty()) return parse_hosts(request.hosts);
  std::ifstream file(request.hostfile);
  if (!file)
    throw ConfigError({.where = "--hostfile",
                       .found = fmt::format("cannot read '{}'", request.hostfile),
                       .expected = {},
                       .fix = "give it a file with lines such as `host1 slots=8`"});
  std::ostringstream text;
  text << file.rdbuf();
  return parse_hostfile(text.str());
}

void require_slots(const std::vector<NamedHost>& hosts, const LaunchRequest& request,
                   const std::string& where) {
  int num_slots = 0;
  for (const NamedHost& host : hosts) {
    if (!host.slots) return;
    num_slots += *host.slots;
  }
  if (hosts.empty() || request.num_ranks <= num_slots) return;
  throw ConfigError({.where = where,
                     .found = fmt::format("{} slot{} for {} ranks", num_slots,
                                          num_slots == 1 ? "" : "s", request.num_ranks),
                     .expected = {},
                     .fix = "give the hosts more slots (host:8, slots=8) or lower --ranks"});
}

void require_addresses(const std::vector<NamedHost>& hosts, const std::string& where) {
  std::vector<std::string> names;
  for (const NamedHost& host : hosts) {
    names.push_back(host.name);
    if (has_address(host.name)) continue;
    throw ConfigError({.where = where,
                       .found = fmt::format("host '{}' has no address", host.name),
                       .expected = {},
                       .fix = "correct its name, or add it to DNS or /etc/hosts"});
  }
  throw CommError({.where = where,
                   .found = fmt::format("mpirun cannot start on all of {}", fmt::join(names, ", ")),
                   .expected = {},
                   .fix = "`ssh HOST true` must work for each without a password, and Open MPI and "
                          "lora-dist lie at the same place"});
}

}  // namespace

std::vector<NamedHost> parse_hosts(const std::string& list) {
  std::vector<NamedHost> hosts;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    hosts.push_back(parse_host(word));
    if (word.find(':') == std::string::npos) hosts.back().slots = 1;
  }
  return hosts;
}

std::vector<NamedHost> parse_hostfile(const std::string& text) {
  std::vector<NamedHost> hosts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    if (!(words >> word)) continue;
    hosts.push_back(parse_host(word));
    while (words >> word)
      if (word.starts_with("slots=")) hosts.back().slots = number(word.substr(6));
  }
  return hosts;
}

void explain_failed_start(const LaunchRequest& request, int mpirun_code) {
  if (mpirun_code != kDidNotBegin && mpirun_code != kHostNotReached) return;
  const std::vector<NamedHost> hosts = named_hosts(request);
  if (hosts.empty()) return;
  const std::string where = request.hostfile.empty() ? "--hosts" : "--hostfile";
  if (mpirun_code == kDidNotBegin) require_slots(hosts, request, where);
  if (mpirun_code == kHostNotReached) require_addresses(hosts, where);
}

}  // namespace lora_dist
