// Records as training would read them, without a base: which format, how many, the first one.
#include "core/base/error.hpp"
#include "data/inspect/kinds.hpp"
#include "data/inspect/text_parts.hpp"
#include "data/io/printable.hpp"
#include "data/shards/part_file.hpp"
#include "data/sources/source.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

Json record_json(const Record& record) {
  Json result = {{"where", record.where}};
  if (!record.messages.empty()) {
    result["turns"] = Json::array();
    for (const Message& message : record.messages)
      result["turns"].push_back(
          {{"role", message.role},
           {"content", message.content + (message.input.empty() ? "" : "\n\n" + message.input)}});
  } else if (!record.tokens.ids.empty()) {
    result["ids"] = record.tokens.ids;
  } else {
    result["text"] = record.text;
  }
  return result;
}

/// One file, read to its end; `result` gets the first record and the first fault of all files.
Json inspect_data_file(const std::string& path, const std::string& format, Json& result) {
  Json file = {{"path", path}, {"format", format}, {"records", 0}, {"broken", 0}};
  int64_t num_records = 0, num_broken = 0;
  const std::unique_ptr<Source> source = open_source(path, format);
  while (true) {
    try {
      const std::optional<Record> record = source->next();
      if (!record) break;
      ++num_records;
      if (!result.contains("first_record")) result["first_record"] = record_json(*record);
    } catch (const DataError& error) {
      ++num_broken;
      if (!result.contains("first_fault")) result["first_fault"] = error.what();
    }
  }
  file["records"] = num_records;
  file["broken"] = num_broken;
  return file;
}

Json inspect_loose_part(const std::string& path) {
  return {{"path", path},
          {"format", "hdf5"},
          {"records", PartFile::open(path)->num_samples()},
          {"broken", 0}};
}

std::string record_lines(const Json& record) {
  constexpr size_t kColumns = 64;  // of 80 behind the label
  if (record.contains("ids")) return paragraph("tokens", one_line(plain(record["ids"]), kColumns));
  if (record.contains("text"))
    return paragraph("text", one_line(record["text"].get<std::string>(), kColumns));
  std::string text;
  for (const Json& turn : record["turns"])
    text += paragraph(plain(turn["role"]), one_line(turn["content"].get<std::string>(), kColumns));
  return text;
}

}  // namespace

Json inspect_data(const std::string& path) {
  const SourceFiles found = find_sources(path, "auto", DataUse::kEvaluation);
  Json result = {{"kind", "data"}, {"path", path}, {"files", Json::array()}};
  for (size_t i = 0; i < found.paths.size(); ++i) {
    // Before it is put into the list: it adds members to `result`.
    Json file = found.formats[i] == "hdf5"
                    ? inspect_loose_part(found.paths[i])
                    : inspect_data_file(found.paths[i], found.formats[i], result);
    result["files"].push_back(std::move(file));
  }
  result["notes"] = found.notes;
  result["next"] = "lora-dist tokenize --base BASE --file " + path;
  return result;
}

std::string data_text(const Json& it, bool) {
  constexpr size_t kShown = 20;
  const Json& files = it["files"];
  std::string text;
  for (size_t i = 0; i < std::min(files.size(), kShown); ++i) {
    const Json& file = files[i];
    std::string counts = fmt::format("{}, {} record{}", plain(file["format"]),
                                     plain(file["records"]), file["records"] == 1 ? "" : "s");
    if (file["broken"] != 0) counts += fmt::format(", {} broken", plain(file["broken"]));
    text += file["path"] == it["path"] ? paragraph("format", counts)
                                       : fmt::format("  {}: {}\n", plain(file["path"]), counts);
  }
  if (files.size() > kShown) text += fmt::format("  and {} more files\n", files.size() - kShown);
  for (const Json& note : it["notes"]) text += paragraph("note", plain(note));
  if (it.contains("first_fault")) text += paragraph("first fault", plain(it["first_fault"]));
  if (it.contains("first_record")) {
    text += paragraph("first record", plain(it["first_record"]["where"]));
    text += record_lines(it["first_record"]);
  }
  // A command stays on one line, to be copied.
  return text + fmt::format("  {:<13}{}\n", "as tokens", it["next"].get<std::string>());
}

}  // namespace lora_dist
