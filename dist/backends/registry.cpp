#include "dist/backends/backend.hpp"

namespace lora_dist {

#define LORA_DIST_BACKEND(name) \
  std::unique_ptr<Communicator> make_##name##_backend(const BackendOptions& options);
#include "dist/backends/backends.def"
#undef LORA_DIST_BACKEND

const Registry<BackendFactory>& backends() {
  static const Registry<BackendFactory> registry("backend", {
#define LORA_DIST_BACKEND(name) {#name, make_##name##_backend},
#include "dist/backends/backends.def"
#undef LORA_DIST_BACKEND
                                                            });
  return registry;
}

}  // namespace lora_dist
