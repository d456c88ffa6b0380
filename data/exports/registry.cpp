#include "data/exports/dialect.hpp"

namespace lora_dist {

#define LORA_DIST_EXPORT(name) const AdapterDialect& name##_dialect();
#include "data/exports/exports.def"
#undef LORA_DIST_EXPORT

const Registry<ExportEntry>& exports() {
  static const Registry<ExportEntry> registry("export format", {
#define LORA_DIST_EXPORT(name) {#name, name##_dialect},
#include "data/exports/exports.def"
#undef LORA_DIST_EXPORT
                                                               });
  return registry;
}

}  // namespace lora_dist
