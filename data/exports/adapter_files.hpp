// Adapters on disk, whatever dialect they are written in.
#pragma once

#include <string>

#include "data/exports/adapter_description.hpp"

namespace lora_dist {

AdapterDescription describe_adapter(const Config& config, const std::string& template_name);

/// Reads the file or folder by the dialect that recognises it. Values are converted to fp32 and are
/// finite, every tensor has the shape that is described. Errors  ModelError, StorageError.
LoadedAdapter load_adapter(const std::string& path);

/// What a text run leaves in `output_dir`: PEFT's pair of files, and
/// pytorch_lora_weights.safetensors with the same tensors. Errors  as AdapterDialect::write().
void write_llm_exports(const std::string& output_dir, const AdapterDescription& description,
                       const NamedTensors& tensors, const std::string& save_dtype);

/// SHA-256 over the tensors by the keys of adapter_model.safetensors and in their order, as
/// `run.json` records it (design 1.4).
std::string adapter_sha256(const NamedTensors& tensors);

}  // namespace lora_dist
