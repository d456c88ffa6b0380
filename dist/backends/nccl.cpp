// NCCL, between the GPUs of CUDA builds: a name in every build, so that asking for it says what is
// missing.
#include "core/error.hpp"
#include "dist/backends/backend.hpp"

namespace lora_dist {

std::unique_ptr<Communicator> make_nccl_backend(const BackendOptions&) {
  throw ConfigError(
      {.where = "backend",
       .found = "'nccl' is not in this build, which has no CUDA",
       .expected = {},
       .fix = "use backend: mpi or gloo, or build with the `cuda` preset on a machine with a GPU"});
}

}  // namespace lora_dist
