// What a person sees while training: a bar with loss, rate and time left on a terminal, plain lines
// elsewhere.
#pragma once

#include <memory>

#include "core/run_observer.hpp"

namespace lora_dist {

/// Writes to standard error. NO_COLOR and the like do not matter: no colour is used.
std::unique_ptr<RunObserver> make_progress(bool on_terminal);

/// "1 h 02 min", "3 min 20 s", "8 s".
std::string duration_text(double seconds);

}  // namespace lora_dist
