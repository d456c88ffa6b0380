// manifest.json of a folder of prepared parts: written last, so a folder with it is complete.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/samples/sample.hpp"
#include "data/preparation/record_notes.hpp"

namespace lora_dist {

struct PartSummary {
  std::string file;  // name within the folder
  std::string sha256;
  int64_t bytes = 0;
  int64_t num_records = 0, num_samples = 0, num_cut = 0, num_skipped = 0;
  int64_t cost = 0, loss_terms = 0;  // of all samples: tokens and labels of texts
};
nlohmann::ordered_json part_to_json(const PartSummary& part);
/// Errors  nlohmann::json::exception: a field is missing or of another type.
PartSummary part_from_json(const nlohmann::ordered_json& json);

/// What a part file holds, from the file itself. Errors  DataError, StorageError.
PartSummary summarise_part(const std::string& path, const SampleSchema& schema);

struct Manifest {
  std::string fingerprint;
  // Sources, tokenizer, template, limits: for people.
  nlohmann::ordered_json made_from = nlohmann::ordered_json::object();
  std::vector<PartSummary> parts;
  RecordNotes notes;
};
std::string manifest_text(const Manifest& manifest);
/// Errors  DataError: not a manifest, or a part's name leaves the folder.
Manifest parse_manifest(const std::string& text, const std::string& path);

/// Errors  DataError: missing, of another size, or of another hash than the manifest says.
void verify_part(const std::string& folder, const PartSummary& part);

}  // namespace lora_dist
