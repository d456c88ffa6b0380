#include "core/adapters/adapter.hpp"

namespace lora_dist {

#define LORA_DIST_ADAPTER(name) std::unique_ptr<Adapter> make_##name##_adapter(AdapterArgs);
#include "core/adapters/adapters.def"
#undef LORA_DIST_ADAPTER

const Registry<AdapterFactory>& adapters() {
  static const Registry<AdapterFactory> registry("adapter", {
#define LORA_DIST_ADAPTER(name) {#name, make_##name##_adapter},
#include "core/adapters/adapters.def"
#undef LORA_DIST_ADAPTER
                                                            });
  return registry;
}

}  // namespace lora_dist
