#include "core/adapters/adapter.hpp"

namespace lora_dist {

#define LORA_DIST_ADAPTER(name) AdapterKind name##_adapter();
#include "core/adapters/adapters.def"
#undef LORA_DIST_ADAPTER

const Registry<AdapterKind>& adapters() {
  static const Registry<AdapterKind> registry("adapter", {
#define LORA_DIST_ADAPTER(name) {#name, name##_adapter()},
#include "core/adapters/adapters.def"
#undef LORA_DIST_ADAPTER
                                                         });
  return registry;
}

std::unique_ptr<Adapter> make_adapter(AdapterArgs args) {
  return adapters().at(args.config.method).make(std::move(args));
}

}  // namespace lora_dist
