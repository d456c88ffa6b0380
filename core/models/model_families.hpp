// The registry of model families: the model_type of config.json to the facts of its decoder.
#pragma once

#include <functional>
#include <string>

#include "core/models/decoder_spec.hpp"
#include "core/registry.hpp"

namespace lora_dist {

using FamilyFactory = std::function<DecoderSpec(const ConfigFields& config)>;
const Registry<FamilyFactory>& model_families();

/// The spec of a model folder's config.json; `where` names the file.
/// Errors  ModelError: an unknown model_type with the known list, a missing or impossible value.
DecoderSpec read_decoder_spec(const nlohmann::ordered_json& config, const std::string& where);

}  // namespace lora_dist
