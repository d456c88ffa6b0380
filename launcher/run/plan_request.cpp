#include "launcher/run/plan_request.hpp"

#include "core/ops/ops.hpp"
#include "launcher/run/base_model.hpp"

namespace lora_dist {

PlanRequest plan_request(const Config& config, const DecoderSpec& spec, const WeightSource& files,
                         std::vector<std::string> targets, int64_t tokens, at::Device device) {
  const at::ScalarType compute = compute_dtype(config.model.dtype, device);
  const auto bytes = [](at::ScalarType dtype) {
    return static_cast<int64_t>(c10::elementSize(dtype));
  };
  return {.spec = spec,
          .targets = std::move(targets),
          .adapter = config.adapter,
          .batch_size = config.steps.batch_size,
          .tokens = tokens,
          .compute_bytes = bytes(compute),
          .product_bytes = bytes(ops::product_dtype(compute, device)),
          .stored_bytes = files.weights().empty() ? 2 : bytes(files.weights().front().dtype),
          .optimizer = config.steps.optimizer,
          .base = files,
          .saves_checkpoints = config.state.save_steps > 0,
          .deterministic = config.distribution.deterministic,
          .on_gpu = !device.is_cpu(),
          .cuda_graphs = config.distribution.cuda_graphs};
}

}  // namespace lora_dist
