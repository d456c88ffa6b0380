// What core/plan wants to know, from a config and an opened base.
#pragma once

#include "core/planning/plan.hpp"
#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// What a rank holds before it has read anything, in bytes: the program with all that training
/// makes it load and keep, as it is on this machine now (core/rehearsal.hpp). 0 for a GPU. `base`
/// is a folder, `dtype` as in the config. Errors  ModelError.
int64_t program_bytes_of(const std::string& base, const std::string& dtype, at::Device device);

/// All of the request but ranks, slots and what core/fit chooses. `tokens` is the longest sequence;
/// `program_bytes` as program_bytes_of() measured them.
PlanRequest plan_request(const Config& config, const ModelOutline& model, const WeightSource& files,
                         std::vector<std::string> targets, int64_t tokens, at::Device device,
                         int64_t program_bytes);

}  // namespace lora_dist
