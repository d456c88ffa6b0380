#include "data/preparation/record_notes.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace lora_dist {

void RecordNotes::add(const std::string& text, const std::string& where, int64_t num_records) {
  auto note = std::ranges::find(notes_, text, &Note::text);
  if (note == notes_.end()) note = notes_.insert(note, {text, where, 0});
  note->num_records += num_records;
}

void RecordNotes::add(const nlohmann::ordered_json& notes) {
  for (const auto& note : notes)
    add(note.at("note").get<std::string>(), note.at("first").get<std::string>(),
        note.at("records").get<int64_t>());
}

nlohmann::ordered_json RecordNotes::to_json() const {
  auto json = nlohmann::ordered_json::array();
  for (const Note& note : notes_)
    json.push_back(
        {{"note", note.text}, {"first", note.first_where}, {"records", note.num_records}});
  return json;
}

std::vector<std::string> RecordNotes::lines() const {
  std::vector<std::string> lines;
  for (const Note& note : notes_) {
    lines.push_back(fmt::format("{}: {}", note.first_where, note.text));
    if (note.num_records > 1)
      lines.back() += fmt::format(" ({} records, this is the first)", note.num_records);
  }
  return lines;
}

}  // namespace lora_dist
