// Where LibTorch lies on this machine: an installed program is linked to it and comes without.
//
// In this order: where LORA_DIST_TORCH says, beside the program, and in the Python that is active
// (PYTHONPATH, VIRTUAL_ENV, CONDA_PREFIX, the first python3 in PATH). Python itself is not started.
// Only the version that the program was built with serves: LibTorch keeps no binary interface
// between two of them.
#pragma once

#include <optional>
#include <string>

namespace lora_dist {

/// What decides; texts are empty where the environment has no such variable.
struct TorchPlaces {
  std::string asked;        // LORA_DIST_TORCH: a torch folder, its lib, or a site-packages folder
  std::string beside;       // the folder of the program that is linked to it
  std::string python_path;  // PYTHONPATH
  std::string virtual_env, conda_prefix;
  std::string path, home;
};

struct TorchFolder {
  std::string folder;        // holds libtorch_cpu.so in lib, or itself
  std::string library_path;  // for the loader: its libraries, and those of NVIDIA that came with it
};

/// The folder, or in `error` one line that says what was found instead and what to do.
std::optional<TorchFolder> find_torch(const TorchPlaces& places, const std::string& wanted_version,
                                      std::string& error);

}  // namespace lora_dist
