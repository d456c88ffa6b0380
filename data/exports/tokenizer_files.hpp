// The base model's tokenizer in the adapter's folder, where PEFT, vLLM and others look for it.
#pragma once

#include <string>
#include <vector>

namespace lora_dist {

/// Copies the tokenizer files of the base folder byte for byte, so that AutoTokenizer opens
/// `folder`. Without `with_chat_template` what the base says about chats stays behind: its own
/// files, and the member of tokenizer_config.json. A file of these names that the base lacks is
/// removed, for two bases must not mix. A base that is gone is a warning. Errors  StorageError;
/// ModelError: a tokenizer_config.json that is no JSON.
void copy_tokenizer_files(const std::string& base_dir, const std::string& folder,
                          bool with_chat_template);

/// Names that copy_tokenizer_files() may write in a folder.
std::vector<std::string> tokenizer_file_names();

}  // namespace lora_dist
