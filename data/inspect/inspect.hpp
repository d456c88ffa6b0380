// What a file or folder of this project's world holds, told by content and not by name.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace lora_dist {

/// The value of `lora-dist inspect --json`. `kind` says which other fields there are: safetensors,
/// adapter, checkpoint, run, base_model, hdf5_part, prepared. A checkpoint that does not verify is
/// described too, with the reason. Errors  ConfigError: no such path, or nothing in it that we
/// know. ModelError, DataError: a known kind that is damaged.
nlohmann::ordered_json inspect_path(const std::string& path);

/// The same for a person. A base model is a page, with a line for each kind of tensor; `all` lists
/// each tensor instead.
std::string inspection_text(const nlohmann::ordered_json& inspection, bool all = false);

}  // namespace lora_dist
