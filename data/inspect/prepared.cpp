#include <algorithm>
#include <filesystem>

#include "data/inspect/kinds.hpp"
#include "data/io/files.hpp"
#include "data/preparation/manifest.hpp"
#include "data/shards/part_file.hpp"

namespace lora_dist {

nlohmann::ordered_json inspect_part(const std::string& path) {
  const auto part = PartFile::open(path);
  const PartAttributes& attributes = part->attributes();
  nlohmann::ordered_json result = {{"kind", "hdf5_part"},
                                   {"path", path},
                                   {"format_version", part->format_version()},
                                   {"task", part->schema().task},
                                   {"num_samples", part->num_samples()}};
  result["num_" + part->schema().columns.front().name] = part->num_elements(0);
  result["max_seq_length"] = attributes.max_seq_length;
  result["num_records"] = attributes.num_records;
  result["num_cut"] = attributes.num_cut;
  result["num_skipped"] = attributes.num_skipped;
  result["source_sha256"] = attributes.source_sha256;
  for (const auto& [name, sha256] : attributes.origins) result[name] = sha256;
  return result;
}

bool is_prepared_set(const std::string& folder) {
  const std::filesystem::path path(folder);
  return std::filesystem::exists(path / "part-0000.h5") &&
         std::filesystem::exists(path / "manifest.json");
}

std::vector<std::string> prepared_sets_in(const std::string& folder) {
  std::vector<std::string> sets;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_directory() && is_prepared_set(entry.path().string()))
      sets.push_back(entry.path().filename().string());
  std::ranges::sort(sets);
  return sets;
}

nlohmann::ordered_json inspect_prepared_sets(const std::string& folder) {
  nlohmann::ordered_json result = {{"kind", "prepared_sets"}, {"path", folder}};
  result["sets"] = nlohmann::ordered_json::array();
  for (const std::string& name : prepared_sets_in(folder)) {
    const auto set = inspect_prepared((std::filesystem::path(folder) / name).string());
    int64_t samples = 0, tokens = 0, bytes = 0;
    for (const auto& part : set["parts"]) {
      samples += part["samples"].get<int64_t>();
      tokens += part["tokens"].get<int64_t>();
      bytes += part["bytes"].get<int64_t>();
    }
    result["sets"].push_back({{"name", name},
                              {"samples", samples},
                              {"tokens", tokens},
                              {"bytes", bytes},
                              {"max_seq_length", set["made_from"].value("max_seq_length", 0)}});
  }
  return result;
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
