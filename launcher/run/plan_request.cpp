#include "launcher/run/plan_request.hpp"

#include "core/models/decoder/decoder_outline.hpp"
#include "core/ops/ops.hpp"
#include "core/planning/rehearsal.hpp"
#include "data/weights/base_folder.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/memory.hpp"

namespace lora_dist {
namespace {

// HDF5, SHA-256, the samples' lengths, what reports keep: about that in every run of
// bench/plan_memory.py.
constexpr int64_t kNotRehearsedBytes = int64_t{9} << 20;

}  // namespace

int64_t program_bytes_of(const std::string& base, const std::string& dtype, at::Device device) {
  if (!device.is_cpu()) return 0;
  rehearse_training(read_decoder_spec(read_model_config(base), base + "/config.json"),
                    compute_dtype(dtype, device));
  give_back_freed_memory();  // the rehearsal's tensors are none of the program's
  return resident_bytes() + kNotRehearsedBytes;
}

PlanRequest plan_request(const Config& config, const ModelOutline& model, const WeightSource& files,
                         std::vector<std::string> targets, int64_t tokens, at::Device device,
                         int64_t program_bytes) {
  const at::ScalarType compute = compute_dtype(config.model.dtype, device);
  const auto bytes = [](at::ScalarType dtype) {
    return static_cast<int64_t>(c10::elementSize(dtype));
  };
  return {.model = model,
          .targets = std::move(targets),
          .adapter = config.adapter,
          .batch_size = config.steps.batch_size,
          .tokens = tokens,
          .compute_bytes = bytes(compute),
          .product_bytes = bytes(ops::product_dtype(compute, device)),
          .optimizer = config.steps.optimizer,
          .base = files,
          .saves_checkpoints = config.state.save_steps > 0,
          .keeps_best = config.state.load_best_model_at_end,
          .program_bytes = program_bytes,
          .deterministic = config.distribution.deterministic,
          .on_gpu = !device.is_cpu(),
          .cuda_graphs = config.distribution.cuda_graphs};
}

}  // namespace lora_dist
