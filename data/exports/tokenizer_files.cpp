#include "data/exports/tokenizer_files.hpp"

#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>

#include "core/base/log.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kFastTokenizerFile = "tokenizer.json";

// What transformers saves with a tokenizer of any kind (formats 6.1), its config aside.
constexpr const char* kTokenizerFiles[] = {
    kFastTokenizerFile, "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
    "spiece.model",     "sentencepiece.bpe.model", "vocab.json",        "merges.txt",
    "vocab.txt"};
constexpr const char* kChatFiles[] = {"chat_template.jinja", "chat_template.json"};

/// tokenizer_config.json as the adapter's folder has it. A base that has none says its tokenizer's
/// class through config.json, which an adapter's folder lacks.
std::string config_text(const fs::path& base, bool with_chat_template) {
  const fs::path path = base / kConfigFile;
  if (!fs::exists(path)) {
    if (!fs::exists(base / kFastTokenizerFile)) return {};
    return "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}\n";
  }
  if (with_chat_template) return read_file(path.string());
  auto config = read_json_file(path.string());
  if (config.erase("chat_template") == 0) return read_file(path.string());
  return config.dump(2) + "\n";
}

void put(const fs::path& target, const std::string& content) {
  if (fs::exists(target) && read_file(target.string()) == content) return;
  write_file_atomically(target.string(), content);
}

void copy_or_remove(const fs::path& from, const fs::path& to, bool is_wanted) {
  if (is_wanted && fs::exists(from))
    put(to, read_file(from.string()));
  else if (fs::exists(to))
    remove_file(to.string());
}

}  // namespace

std::vector<std::string> tokenizer_file_names() {
  std::vector<std::string> names = {kConfigFile};
  names.insert(names.end(), std::begin(kTokenizerFiles), std::end(kTokenizerFiles));
  names.insert(names.end(), std::begin(kChatFiles), std::end(kChatFiles));
  return names;
}

void copy_tokenizer_files(const std::string& base_dir, const std::string& folder,
                          bool with_chat_template) {
  const fs::path base(base_dir), target(folder);
  std::error_code error;
  if (!fs::is_directory(base, error)) {
    log_warning(base_dir + ": no longer there; the tokenizer files are not copied from it");
    return;
  }
  if (fs::equivalent(base, target, error)) return;
  for (const char* name : kTokenizerFiles)
    copy_or_remove(base / name, target / name, /*is_wanted=*/true);
  for (const char* name : kChatFiles)
    copy_or_remove(base / name, target / name, with_chat_template);
  const std::string config = config_text(base, with_chat_template);
  if (!config.empty())
    put(target / kConfigFile, config);
  else if (fs::exists(target / kConfigFile))
    remove_file((target / kConfigFile).string());
}

}  // namespace lora_dist
