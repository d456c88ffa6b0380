// What a person reads before the first step: model, what learns, the arithmetic of the batch,
// steps, memory.
#pragma once

#include <string>

#include "core/config.hpp"
#include "core/models/decoder_spec.hpp"
#include "core/plan.hpp"
#include "core/world.hpp"
#include "data/dataset.hpp"

namespace lora_dist {

struct BannerFacts {
  const Config& config;
  const WorldInfo& world;
  const DecoderSpec& spec;
  const RunPlan& plan;
  const DatasetStats& data;
  std::string data_path, template_name, dtype, device, backend;
  int threads = 1;
  int64_t slots_per_step = 1, steps_per_epoch = 0, num_steps = 0, num_train_samples = 0,
          num_rows = 0, num_held_out = 0;
  bool recompute_blocks = false;
  std::string resumed_from;
  int64_t steps_done = 0;
};

/// Several lines, without a final newline.
std::string banner_text(const BannerFacts& facts);

}  // namespace lora_dist
