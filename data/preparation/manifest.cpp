#include "data/preparation/manifest.hpp"

#include <filesystem>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"
#include "data/shards/part_file.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// Every count of a part with its name in the manifest, once for both directions.
template <class Part, class Field>
void each_count(Part& part, Field&& field) {
  field("bytes", part.bytes);
  field("records", part.num_records);
  field("samples", part.num_samples);
  field("tokens", part.cost);
  field("labels", part.loss_terms);
  field("cut", part.num_cut);
  field("skipped", part.num_skipped);
}

}  // namespace

nlohmann::ordered_json part_to_json(const PartSummary& part) {
  nlohmann::ordered_json json = {{"file", part.file}, {"sha256", part.sha256}};
  each_count(part, [&](const char* name, int64_t count) { json[name] = count; });
  return json;
}

PartSummary part_from_json(const nlohmann::ordered_json& json) {
  PartSummary part;
  json.at("file").get_to(part.file);
  json.at("sha256").get_to(part.sha256);
  each_count(part, [&](const char* name, int64_t& count) { json.at(name).get_to(count); });
  return part;
}

PartSummary summarise_part(const std::string& path, const SampleSchema& schema) {
  const std::unique_ptr<PartFile> file = PartFile::open(path, schema);
  PartSummary part{.file = fs::path(path).filename().string(),
                   .sha256 = file_sha256(path),
                   .bytes = static_cast<int64_t>(fs::file_size(path)),
                   .num_records = file->attributes().num_records,
                   .num_samples = file->num_samples(),
                   .num_cut = file->attributes().num_cut,
                   .num_skipped = file->attributes().num_skipped};
  for (const SampleMeasure& sample : file->measure()) {
    part.cost += sample.cost;
    part.loss_terms += sample.loss_terms;
  }
  return part;
}

std::string manifest_text(const Manifest& manifest) {
  nlohmann::ordered_json json = {
      {"format_version", manifest.made_from.value("format_version", kPartFormatVersion)},
      {"fingerprint", manifest.fingerprint}};
  json.update(manifest.made_from);
  json["parts"] = nlohmann::ordered_json::array();
  for (const PartSummary& part : manifest.parts) json["parts"].push_back(part_to_json(part));
  if (!manifest.notes.empty()) json["notes"] = manifest.notes.to_json();
  return utf8_dump(json, /*indent=*/2) + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& path) {
  Manifest manifest;
  try {
    const auto json = nlohmann::ordered_json::parse(text);
    json.at("fingerprint").get_to(manifest.fingerprint);
    for (const auto& part : json.at("parts")) manifest.parts.push_back(part_from_json(part));
    if (json.contains("notes")) manifest.notes.add(json.at("notes"));
    for (const auto& [key, value] : json.items())
      if (key != "parts" && key != "fingerprint" && key != "notes") manifest.made_from[key] = value;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(
        {.where = path,
         .found = fmt::format("not a manifest of prepared data ({})", printable(error.what(), 120)),
         .expected = {},
         .fix = "delete " + fs::path(path).parent_path().string()});
  }
  for (const PartSummary& part : manifest.parts) {
    if (part.file != fs::path(part.file).filename().string() || part.file.starts_with('.'))
      throw DataError(
          {.where = path,
           .found = fmt::format("part name '{}' leaves the folder", printable(part.file)),
           .expected = {},
           .fix = "delete " + fs::path(path).parent_path().string()});
  }
  return manifest;
}

void verify_part(const std::string& folder, const PartSummary& part) {
  const std::string path = (fs::path(folder) / part.file).string();
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  std::string found;
  if (error) {
    found = "missing, manifest.json lists it";
  } else if (static_cast<int64_t>(bytes) != part.bytes) {
    found = fmt::format("{} bytes, manifest.json says {}", bytes, part.bytes);
  } else if (file_sha256(path) != part.sha256) {
    found = "hash differs from manifest.json";
  }
  if (!found.empty())
    throw DataError({.where = path, .found = found, .expected = {}, .fix = "delete " + folder});
}

}  // namespace lora_dist
