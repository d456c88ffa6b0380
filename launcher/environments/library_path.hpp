// An installed program is started by bin/lora-dist (launcher/start), which is what others start.
#pragma once

#include <string>

namespace lora_dist {

/// Puts LD_LIBRARY_PATH back to what it was before bin/lora-dist set it: the loader has read it,
/// and the programs that this one starts have libraries of their own. To be called before threads
/// start.
void restore_library_path();

/// What starts this program again, on this host or another one: bin/lora-dist of the installation
/// whose program `own_path` is, else `own_path` itself.
std::string program_to_start(const std::string& own_path);

}  // namespace lora_dist
