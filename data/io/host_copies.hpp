// Files of rank 0 on hosts that share no file system with it: a node needs the program and the base
// weights, everything else comes from rank 0.
#pragma once

#include <string>
#include <vector>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

/// Which ranks see what rank 0 writes below `folder`, by rank; rank 0 makes the folder.
///
/// Ranks   collective; `folder` may differ by rank.
/// Errors  StorageError: rank 0 cannot write there.
std::vector<bool> ranks_that_share(const std::string& folder, Communicator& world);

struct HostCopies {
  std::vector<std::string> names;  // of files of rank 0's `from`; rank 0's list counts
  std::string from;                // read by rank 0 only
  std::string to;                  // of this rank; made where something is missing
  bool wanted = false;             // this rank reads from `to`
};
/// Copies the files to every folder of a host that wants them and has no file of that name and
/// size; the lowest rank that wants them there writes. Each file is renamed into place when it is
/// complete.
///
/// Ranks   collective.
/// Errors  StorageError, of whichever rank, on all.
void copy_to_hosts(const HostCopies& copies, Communicator& world);

}  // namespace lora_dist
