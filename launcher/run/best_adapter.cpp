#include "launcher/run/best_adapter.hpp"

#include <filesystem>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/checkpoints/store.hpp"

namespace lora_dist {

NamedTensors best_adapter_so_far(const nlohmann::ordered_json& trainer,
                                 const std::string& resumed_from) {
  namespace fs = std::filesystem;
  const auto best = trainer.find("best_model_checkpoint");
  if (best == trainer.end() || !best->is_string()) return {};
  // The run folder may have been moved, with the best beside the checkpoint that is resumed.
  const fs::path name = fs::path(best->get<std::string>()).filename();
  const fs::path resumed = fs::path(resumed_from).lexically_normal();
  const fs::path folder = (resumed.has_filename() ? resumed : resumed.parent_path()).parent_path();
  try {
    if (!fs::exists(folder / name)) return {};
    return load_checkpoint((folder / name).string()).state.adapter;
  } catch (const Error& error) {
    log_warning(error.what());
    return {};
  }
}

}  // namespace lora_dist
