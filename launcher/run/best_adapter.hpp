// The best state of a resumed run, which an earlier process found.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/training/training_state.hpp"

namespace lora_dist {

/// The adapter of the checkpoint that `trainer` (the trainer_state.json of the checkpoint
/// `resumed_from`) calls the best. Empty where there is none, or where it does not verify: then the
/// trainer says at its end what is exported instead.
///
/// Ranks   rank 0.
NamedTensors best_adapter_so_far(const nlohmann::ordered_json& trainer,
                                 const std::string& resumed_from);

}  // namespace lora_dist
