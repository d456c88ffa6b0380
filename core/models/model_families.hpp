// The registry of model families: the model_type of config.json to what it says of the model.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/base/registry.hpp"
#include "core/models/config_fields.hpp"
#include "core/models/model.hpp"

namespace lora_dist {

using FamilyFactory = std::function<std::unique_ptr<ModelOutline>(const ConfigFields& config)>;
const Registry<FamilyFactory>& model_families();

/// The outline of a model folder's config.json; `where` names the file.
/// Errors  ModelError: an unknown model_type with the known list, a missing or impossible value.
std::unique_ptr<ModelOutline> read_model_outline(const nlohmann::ordered_json& config,
                                                 const std::string& where);

}  // namespace lora_dist
