// The turns of a conversation: lists of {"role", "content"} or of {"from", "value"}.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/sources/source_format.hpp"

namespace lora_dist {

/// Adds the turns of the field `field`, and a note for each of their keys that is not obeyed.
/// Errors  DataError: another form, a role that is not known, calls of tools.
void add_turns(const RawRecord& raw, std::string_view field, const nlohmann::json& turns,
               Record& record);

/// The conversation that a person gives a command: the JSON of a list of turns, or of an object
/// that has one as `messages`; at least one turn. Warns of keys that are not obeyed.
/// Errors  DataError, also where it is no JSON.
std::vector<Message> read_conversation(const std::string& text, const std::string& where);

}  // namespace lora_dist
