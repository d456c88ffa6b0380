#include <filesystem>

#include "data/files.hpp"
#include "data/inspect/kinds.hpp"
#include "data/shards/manifest.hpp"
#include "data/shards/part_file.hpp"

namespace lora_dist {

nlohmann::ordered_json inspect_part(const std::string& path) {
  const auto part = PartFile::open(path);
  const PartAttributes& attributes = part->attributes();
  return {{"kind", "hdf5_part"},
          {"path", path},
          {"format_version", attributes.format_version},
          {"num_samples", part->num_samples()},
          {"num_tokens", part->offsets().back()},
          {"max_seq_length", attributes.max_seq_length},
          {"num_records", attributes.num_records},
          {"num_cut", attributes.num_cut},
          {"num_skipped", attributes.num_skipped},
          {"source_sha256", attributes.source_sha256},
          {"tokenizer_sha256", attributes.tokenizer_sha256},
          {"template_sha256", attributes.template_sha256}};
}

nlohmann::ordered_json inspect_prepared(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "manifest.json").string();
  const Manifest manifest = parse_manifest(read_file(path), path);
  nlohmann::ordered_json result = {{"kind", "prepared"},
                                   {"path", folder},
                                   {"fingerprint", manifest.fingerprint},
                                   {"made_from", manifest.made_from}};
  result["parts"] = nlohmann::ordered_json::array();
  for (const PartSummary& part : manifest.parts) result["parts"].push_back(part_to_json(part));
  return result;
}

}  // namespace lora_dist
