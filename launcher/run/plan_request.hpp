// What core/plan wants to know, from a config and an opened base.
#pragma once

#include "core/plan.hpp"
#include "core/weight_source.hpp"

namespace lora_dist {

/// All of the request but ranks, slots and what core/fit chooses. `tokens` is the longest sequence.
PlanRequest plan_request(const Config& config, const DecoderSpec& spec, const WeightSource& files,
                         std::vector<std::string> targets, int64_t tokens, at::Device device);

}  // namespace lora_dist
