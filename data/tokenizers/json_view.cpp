#include "data/tokenizers/json_view.hpp"

namespace lora_dist {

bool JsonView::has(const std::string& key) const {
  return value_->is_object() && value_->contains(key) && !(*value_)[key].is_null();
}

JsonView JsonView::at(const std::string& key) const {
  if (!has(key)) fail(fmt::format("'{}' is missing", key));
  return {(*value_)[key], file_, place_.empty() ? key : place_ + "." + key};
}

std::string JsonView::text(const std::string& key) const {
  const JsonView member = at(key);
  if (!member.value_->is_string()) member.fail(member.value_->type_name(), "a string");
  return member.value_->get<std::string>();
}

bool JsonView::boolean(const std::string& key) const {
  const JsonView member = at(key);
  if (!member.value_->is_boolean()) member.fail(member.value_->type_name(), "true or false");
  return member.value_->get<bool>();
}

bool JsonView::boolean(const std::string& key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

int64_t JsonView::integer(const std::string& key) const {
  const JsonView member = at(key);
  if (!member.value_->is_number_integer())
    member.fail(member.value_->type_name(), "a whole number");
  return member.value_->get<int64_t>();
}

std::vector<JsonView> JsonView::items(const std::string& key) const {
  const JsonView member = at(key);
  if (!member.value_->is_array()) member.fail(member.value_->type_name(), "a list");
  std::vector<JsonView> result;
  for (size_t i = 0; i < member.value_->size(); ++i)
    result.emplace_back((*member.value_)[i], file_, fmt::format("{}[{}]", member.place_, i));
  return result;
}

void JsonView::fail(const std::string& found, const std::string& expected,
                    const std::string& fix) const {
  throw ModelError({.where = place_.empty() ? file_ : file_ + ": " + place_,
                    .found = found,
                    .expected = expected,
                    .fix = fix});
}

}  // namespace lora_dist
