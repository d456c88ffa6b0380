// What this process has begun to write under temporary names and not yet renamed.
#pragma once

#include <string>

namespace lora_dist {

/// Remembers a temporary name until it is renamed.
void note_unfinished(const std::string& path);
void note_finished(const std::string& path);

/// Removes all of it: for a process that is about to leave in the middle of its work. Threads that
/// still write there meet errors.
void remove_unfinished();

}  // namespace lora_dist
