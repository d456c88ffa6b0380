// What of the records of a data set is not used as it is written: each kind told once, with how
// many records it concerns and the first of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace lora_dist {

class RecordNotes {
 public:
  /// `where` is the record's place; records come in their order.
  void add(const std::string& text, const std::string& where, int64_t num_records = 1);
  /// What to_json gave of later records. Errors  nlohmann::json::exception.
  void add(const nlohmann::ordered_json& notes);
  bool empty() const { return notes_.empty(); }
  nlohmann::ordered_json to_json() const;
  /// "train.jsonl:3: 'tools' is left out of the prompt (120 records, this is the first)".
  std::vector<std::string> lines() const;

 private:
  struct Note {
    std::string text, first_where;
    int64_t num_records = 0;
  };
  std::vector<Note> notes_;  // in the order of their first record
};

}  // namespace lora_dist
