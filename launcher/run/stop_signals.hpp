// A request to stop from outside: TERM, USR1, HUP or the first Ctrl-C set a flag that the training
// loop reads after each step; a second Ctrl-C ends the process at once.
#pragma once

#include <atomic>

namespace lora_dist {

/// Installs the handlers once and returns the flag.
const std::atomic<bool>& watch_stop_signals();

}  // namespace lora_dist
