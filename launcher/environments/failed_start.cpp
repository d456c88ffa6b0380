#include "launcher/environments/failed_start.hpp"

#include <netdb.h>

#include "core/base/error.hpp"
#include "launcher/environments/hosts.hpp"

namespace lora_dist {
namespace {

constexpr int kDidNotBegin = 1, kHostNotReached = 255;  // mpirun's

bool has_address(const std::string& host) {
  addrinfo* found = nullptr;
  const bool known = getaddrinfo(host.c_str(), nullptr, nullptr, &found) == 0;
  if (known) freeaddrinfo(found);
  return known;
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

void explain_failed_start(const LaunchRequest& request, int mpirun_code) {
  if (mpirun_code != kDidNotBegin && mpirun_code != kHostNotReached) return;
  const std::vector<NamedHost> hosts = named_hosts(request);
  if (hosts.empty()) return;
  const std::string where = request.hostfile.empty() ? "--hosts" : "--hostfile";
  if (mpirun_code == kDidNotBegin) require_slots(hosts, request, where);
  if (mpirun_code == kHostNotReached) require_addresses(hosts, where);
}

}  // namespace lora_dist
