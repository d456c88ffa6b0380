// The hosts that a person named: --hosts and --hostfile. Read strictly, for what mpirun cannot read
// it says in its own twenty lines, and what it reads in another way it does not say at all.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/environments/environment.hpp"

namespace lora_dist {

struct NamedHost {
  std::string name;
  std::optional<int> slots;  // nothing where mpirun would count the host's cores
  std::string rest;          // of the line, mpirun's own settings: "max_slots=4 username=me"
};

/// Those of --hosts: "a:8,b"; a host without a number has one slot.
/// Errors  ConfigError: an empty name, slots that are no number of at least 1.
std::vector<NamedHost> parse_hosts(const std::string& list);

/// Those of a hostfile, one a line: "a slots=8", "a:8" or "a"; # begins a comment. `path` is for
/// messages. Lines may end as Windows ends them, and the file may begin with a byte order mark.
/// Errors  ConfigError with the line: words that mpirun does not know, slots that are no number of
/// at least 1, a host that comes again with slots; without one: no host at all.
std::vector<NamedHost> parse_hostfile(const std::string& text, const std::string& path);

/// The hosts of the request; none where it names none.
/// Errors  ConfigError, as above and: the file cannot be read.
std::vector<NamedHost> named_hosts(const LaunchRequest& request);

/// A hostfile as mpirun reads it, in memory: it has a path as long as this object lives, also for
/// children.
class HostfileCopy {
 public:
  /// Errors  MemoryError.
  explicit HostfileCopy(const std::vector<NamedHost>& hosts);
  ~HostfileCopy();
  HostfileCopy(const HostfileCopy&) = delete;
  HostfileCopy& operator=(const HostfileCopy&) = delete;

  std::string path() const;

 private:
  int fd_ = -1;
};

}  // namespace lora_dist
