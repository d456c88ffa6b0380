// A rank of torchrun (`torchrun --no-python ... lora-dist train ...`), or of what builds on its
// agent, as `accelerate launch` does. The agent may run inside mpirun or srun, whose variables its
// workers inherit; it is the one that started them.
#include "launcher/environments/environment.hpp"
#include "launcher/environments/torch_variables.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {

std::optional<WorldInfo> detect_torchrun() {
  if (!variable("TORCHELASTIC_RUN_ID") || !variable("RANK")) return std::nullopt;
  return world_of_torch_variables("torchrun");
}

}  // namespace lora_dist
