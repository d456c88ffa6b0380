// What the texts of several kinds are made of.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace lora_dist {

/// A value on one line: texts without quotes, lists and objects without brackets, nothing that
/// drives a terminal.
std::string plain(const nlohmann::ordered_json& value);
/// "  name                      value", with a line end.
std::string field(const std::string& name, const std::string& value);
/// The members of `object` that are neither named in `hidden` nor empty.
std::string fields(const nlohmann::ordered_json& object,
                   std::initializer_list<std::string_view> hidden = {});
std::string tensor_table(const nlohmann::ordered_json& tensors);
/// `text` behind its label, on as many lines of 80 columns as it takes.
std::string paragraph(const std::string& label, const std::string& text);

std::string base_model_text(const nlohmann::ordered_json& it, bool all);
std::string data_text(const nlohmann::ordered_json& it, bool);

}  // namespace lora_dist
