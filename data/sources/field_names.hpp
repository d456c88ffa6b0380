// Names of a record's fields: which mean something here, and what others may stand for.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "data/sources/record_reader.hpp"

namespace lora_dist {

/// Names that a format reads, or by which other trainers change what is learnt.
bool is_known_field(std::string_view name);

/// Gives fields whose names differ from known ones by capitals and blanks alone the known ones
/// ("Instruction", "output "), with a note. Of two that mean the same the one written right is
/// kept.
void mend_field_names(RawRecord& record);

/// An object with a role and what it said: one turn of a conversation.
bool is_turn(const nlohmann::json& value);
/// A list that begins with a turn.
bool is_list_of_turns(const nlohmann::json& value);

/// "rename '问题' to 'instruction' and '答案' to 'output'", for names that look like known ones;
/// empty where none does.
std::string renaming_hint(const nlohmann::json& fields);

}  // namespace lora_dist
