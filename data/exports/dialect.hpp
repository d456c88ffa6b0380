// Socket: how one program names the tensors of an adapter and lays out its files, both ways.
//
// Inside, a tensor is a module and a role (core/training_state.hpp); the names of PEFT, kohya,
// diffusers or llama.cpp are spelt in one file each, listed in exports.def.
#pragma once

#include <optional>
#include <string>

#include "core/base/registry.hpp"
#include "data/exports/adapter_description.hpp"

namespace lora_dist {

class AdapterDialect {
 public:
  virtual ~AdapterDialect() = default;
  virtual std::string key_of(const ModuleRole& tensor) const = 0;
  /// The inverse of key_of(); nothing for a key that the dialect does not have.
  virtual std::optional<ModuleRole> parse(const std::string& key) const = 0;

  /// Whether the file or folder is one of this dialect. Errors  ModelError: a damaged file.
  virtual bool recognises(const std::string& path) const = 0;
  /// Errors  ModelError (also for what the adapter asks for and we lack), StorageError.
  virtual LoadedAdapter read(const std::string& path) const = 0;
  /// Fills `folder`, `save_dtype` is fp32, bf16 or fp16; reads the tensors back and compares.
  /// Errors  StorageError, ModelError (what was read back differs).
  virtual void write(const std::string& folder, const AdapterDescription& description,
                     const NamedTensors& tensors, const std::string& save_dtype) const = 0;
};

using ExportEntry = const AdapterDialect& (*)();
const Registry<ExportEntry>& exports();

/// The dialect that recognises `path`; null where none does.
const AdapterDialect* find_dialect(const std::string& path);

/// The same tensors under the dialect's keys, in the order of these.
NamedTensors in_dialect(const AdapterDialect& dialect, const NamedTensors& tensors);
/// The inverse. Errors  ModelError naming `where`: a key that the dialect does not have.
NamedTensors from_dialect(const AdapterDialect& dialect, const NamedTensors& tensors,
                          const std::string& where);

}  // namespace lora_dist
