// What a file or folder of this project's world holds, told by content, and by name
// where that is a fixed one.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace lora_dist {

/// The value of `lora-dist inspect --json`. `kind` says which other fields there are: safetensors,
/// adapter, checkpoint, run, run_file, metrics, base_model, hdf5_part, prepared, prepared_sets,
/// data, file (of a known name: `what` it is, and the `next` command). A checkpoint that does not
/// verify is described too, with the reason. Errors  ConfigError: no such path, or nothing in it
/// that we know. ModelError, DataError: a known kind that is damaged.
nlohmann::ordered_json inspect_path(const std::string& path);

/// The same for a person. A base model is a page, with a line for each kind of tensor; `all` lists
/// each tensor instead.
std::string inspection_text(const nlohmann::ordered_json& inspection, bool all = false);

/// "checkpoint", "run", "adapter", "base_model", "prepared", "prepared_sets", or "" for other
/// folders, which may hold data.
std::string kind_of_folder(const std::string& path);

}  // namespace lora_dist
