// RANK and WORLD_SIZE set by whatever else starts processes for PyTorch: a Kubernetes PyTorchJob,
// DeepSpeed's launcher, a loop in a shell.
#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/torch_variables.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

[[noreturn]] void refuse_half(const std::string& found) {
  throw ConfigError(
      {.where = "environment",
       .found = found,
       .expected = "RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT",
       .fix = "set all four for every rank, or unset them to train with one process"});
}

}  // namespace

std::optional<WorldInfo> detect_env() {
  const bool has_rank = variable("RANK").has_value();
  const int world_size = integer_variable("WORLD_SIZE").value_or(has_rank ? 0 : 1);
  if (has_rank && !variable("WORLD_SIZE")) refuse_half("RANK is set but WORLD_SIZE is not");
  // Left over from something else, of one process as this is.
  if (world_size == 1 && integer_variable("RANK").value_or(0) == 0) return std::nullopt;
  if (!has_rank) refuse_half(fmt::format("WORLD_SIZE is {} but RANK is not set", world_size));
  return world_of_torch_variables("env");
}

}  // namespace lora_dist
