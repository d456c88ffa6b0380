#include "data/tokenizers/post_processors.hpp"

namespace lora_dist {
namespace {

void append(std::vector<TokenId>& ids, const std::vector<TokenId>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

/// `single` is the template for one text: [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id":
/// "A"}}].
PostProcessor make_template(const JsonView& spec) {
  PostProcessor result;
  int num_sequences = 0;
  for (const JsonView& part : spec.items("single")) {
    if (part.has("Sequence")) {
      ++num_sequences;
      continue;
    }
    const std::string name = part.at("SpecialToken").text("id");
    for (const JsonView& id : spec.at("special_tokens").at(name).items("ids")) {
      if (!id.json().is_number_unsigned()) id.fail(id.json().type_name(), "a token id");
      (num_sequences == 0 ? result.before : result.after).push_back(id.json().get<TokenId>());
    }
  }
  if (num_sequences != 1)
    spec.fail(fmt::format("'single' holds the text {} times", num_sequences), "once");
  return result;
}

/// Trims offsets, which are not kept here.
PostProcessor make_byte_level(const JsonView&) { return {}; }

PostProcessor make_roberta(const JsonView& spec) {
  const auto id_of = [&](const std::string& key) {  // ["</s>", 2]
    const std::vector<JsonView> token = spec.items(key);
    if (token.size() != 2 || !token[1].json().is_number_unsigned())
      spec.fail(fmt::format("'{}' is of another form", key), "[token, id]");
    return token[1].json().get<TokenId>();
  };
  return {.before = {id_of("cls")}, .after = {id_of("sep")}};
}

PostProcessor make_sequence(const JsonView& spec) {
  PostProcessor result;
  for (const JsonView& step :
       spec.items("processors")) {  // each wraps what the ones before it made
    PostProcessor outer = make_post_processor(step);
    append(outer.before, result.before);
    append(result.after, outer.after);
    result.before = std::move(outer.before);
  }
  return result;
}

}  // namespace

PostProcessor make_post_processor(const JsonView& spec) {
  static const Registry<PostProcessor (*)(const JsonView&)> known(
      "post_processor", {{"Sequence", make_sequence},
                         {"TemplateProcessing", make_template},
                         {"ByteLevel", make_byte_level},
                         {"RobertaProcessing", make_roberta}});
  return component(known, "post_processor", spec)(spec);
}

}  // namespace lora_dist
