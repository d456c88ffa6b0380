#include "core/models/model_families.hpp"

namespace lora_dist {

#define LORA_DIST_MODEL(name) std::unique_ptr<ModelOutline> name##_model(const ConfigFields&);
#include "core/models/models.def"
#undef LORA_DIST_MODEL

const Registry<FamilyFactory>& model_families() {
  static const Registry<FamilyFactory> registry("model family", {
#define LORA_DIST_MODEL(name) {#name, name##_model},
#include "core/models/models.def"
#undef LORA_DIST_MODEL
                                                                });
  return registry;
}

std::unique_ptr<ModelOutline> read_model_outline(const nlohmann::ordered_json& config,
                                                 const std::string& where) {
  const std::string type = config.contains("model_type") && config["model_type"].is_string()
                               ? config["model_type"].get<std::string>()
                               : std::string();
  const FamilyFactory* family = model_families().find(type);
  if (!family) {
    throw ModelError(
        {.where = where,
         .found = type.empty() ? "no model_type" : fmt::format("model_type '{}'", type),
         .expected = fmt::format("one of {}", fmt::join(model_families().names(), ", ")),
         .fix = "choose a base model of one of these families"});
  }
  return (*family)(ConfigFields(config, where));
}

}  // namespace lora_dist
