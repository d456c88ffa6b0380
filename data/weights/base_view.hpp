// The base model as a host sees it: its own weights, and where it lacks them the small files of
// rank 0.
#pragma once

#include <string>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

/// The folder from which this rank opens the base model: `model_dir`, or where its host lacks
/// config.json, tokenizer files or the like that rank 0 has, `view_dir`, filled with copies of
/// those and links to what the host has.
///
/// Ranks   collective.
/// Errors  ModelError: a host lacks the folder or weights that rank 0 has, by host; StorageError.
std::string open_base_view(const std::string& model_dir, const std::string& view_dir,
                           Communicator& world);

}  // namespace lora_dist
