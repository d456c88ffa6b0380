// Why mpirun, which --ranks keeps quiet, ended although no rank had anything to say.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/environments/environment.hpp"

namespace lora_dist {

struct NamedHost {
  std::string name;
  std::optional<int> slots;  // nothing where mpirun would count the host's cores
};

/// Those of --hosts: "a:8,b"; a host without a number has one slot.
std::vector<NamedHost> parse_hosts(const std::string& list);
/// Those of an Open MPI hostfile: "a slots=8" or "a:8", one a line; # begins a comment.
std::vector<NamedHost> parse_hostfile(const std::string& text);

/// Looks for the reason of mpirun's own exit codes, which are none of ours: 1 (it did not begin)
/// and 255 (a host could not be reached). Returns where it finds none, and for all other codes.
///
/// Errors  ConfigError: no such hostfile, too few slots, a host without an address.
///         CommError: a host with an address that could not be reached.
void explain_failed_start(const LaunchRequest& request, int mpirun_code);

}  // namespace lora_dist
