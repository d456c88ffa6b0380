// Why mpirun, which --ranks keeps quiet, ended although no rank had anything to say.
#pragma once

#include "launcher/environments/environment.hpp"

namespace lora_dist {

/// Looks for the reason of mpirun's own exit codes, which are none of ours: 1 (it did not begin)
/// and 255 (a host could not be reached). Returns where it finds none, and for all other codes.
///
/// Errors  ConfigError: too few slots, a host without an address.
///         CommError: a host with an address that could not be reached.
void explain_failed_start(const LaunchRequest& request, int mpirun_code);

}  // namespace lora_dist
