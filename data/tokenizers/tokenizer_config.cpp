#include "data/tokenizers/tokenizer_config.hpp"

#include <charconv>
#include <filesystem>

#include "data/io/files.hpp"
#include "data/io/json.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// A JSON file of the model folder; an empty object where it is missing.
class OptionalFile {
 public:
  OptionalFile(const std::string& model_dir, const std::string& name,
               std::vector<std::string>& read)
      : path_((fs::path(model_dir) / name).string()), json_(nlohmann::json::object()) {
    if (!fs::exists(path_)) return;
    json_ = read_json_file<nlohmann::json>(path_);
    read.push_back(path_);
  }
  JsonView view() const { return {json_, path_}; }
  bool names(const std::string& key) const { return json_.contains(key); }

 private:
  std::string path_;
  nlohmann::json json_;
};

/// "</s>", {"content": "</s>", ...} or null.
NamedToken read_token(const JsonView& file, const std::string& key) {
  if (!file.has(key)) return {};
  const JsonView token = file.at(key);
  return {.content = token.json().is_object() ? token.text("content") : file.text(key)};
}

/// `eos_token_id` of config.json: a number or a list of them.
NamedToken read_token_id(const JsonView& file, const std::string& key) {
  if (!file.has(key)) return {};
  const nlohmann::json& id = file.at(key).json();
  const nlohmann::json& first = id.is_array() && !id.empty() ? id.front() : id;
  if (!first.is_number_integer()) file.at(key).fail(first.type_name(), "a token id");
  return {.content = {}, .id = first.get<TokenId>()};
}

std::vector<AddedToken> read_added_tokens(const JsonView& config) {
  std::vector<AddedToken> result;
  if (!config.has("added_tokens_decoder")) return result;
  const JsonView tokens = config.at("added_tokens_decoder");
  for (const auto& [key, value] : tokens.json().items()) {
    TokenId id = kNoToken;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      tokens.fail(fmt::format("'{}'", key), "a token id");
    result.push_back(read_added_token(tokens.at(key), id));
  }
  return result;
}

std::string read_chat_template(const JsonView& config) {
  if (!config.has("chat_template")) return {};
  const JsonView member = config.at("chat_template");
  if (!member.json().is_array()) return config.text("chat_template");
  std::string first;
  for (const JsonView& entry : config.items("chat_template")) {
    if (entry.text("name") == "default") return entry.text("template");
    if (first.empty()) first = entry.text("template");
  }
  return first;
}

}  // namespace

TokenizerConfig read_tokenizer_config(const std::string& model_dir) {
  TokenizerConfig result;
  const OptionalFile config(model_dir, "tokenizer_config.json", result.files);
  const OptionalFile map(model_dir, "special_tokens_map.json", result.files);
  std::vector<std::string> not_hashed;  // the model's own config says little about its tokenizer
  const OptionalFile model(model_dir, "config.json", not_hashed);
  const auto named = [&](const std::string& key) {
    if (config.names(key)) return read_token(config.view(), key);
    if (map.names(key)) return read_token(map.view(), key);
    return read_token_id(model.view(), key + "_id");
  };
  result.bos = named("bos_token");
  result.eos = named("eos_token");
  result.pad = named("pad_token");
  result.added_tokens = read_added_tokens(config.view());
  result.chat_template = read_chat_template(config.view());
  if (const fs::path jinja = fs::path(model_dir) / "chat_template.jinja"; fs::exists(jinja)) {
    result.chat_template = read_file(jinja.string());
    result.files.push_back(jinja.string());
  }
  return result;
}

}  // namespace lora_dist
