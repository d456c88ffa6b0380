// From the turns of a record to token ids with a mask of what is learnt.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/registry.hpp"
#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

struct Message {
  std::string role;  // system | user | assistant | tool
  std::string content;
  /// What a user turn works on, where a source keeps it apart (alpaca's `input`): the alpaca
  /// template gives it a block of its own, all others put it on a line behind the content.
  std::string input{};
  /// Of an assistant turn: false where the data say that it is context only (`"weight": 0`).
  bool learn = true;
  /// The turn as it is written, where it has keys that a chat template may look at ("tool_calls",
  /// "name", "reasoning_content"); null where it has none. A content of null stays null.
  nlohmann::ordered_json as_written{};
};

/// What a record gives a chat template. `tools` and `documents` are lists, or null.
struct Conversation {
  std::vector<Message> messages;
  nlohmann::ordered_json tools{}, documents{};
};

class PromptTemplate {
 public:
  virtual ~PromptTemplate() = default;
  virtual std::string name() const = 0;

  /// Ids of a conversation that ends with an assistant turn. Assistant turns and the end-of-turn
  /// (EOS) token after them are learnt where Message::learn is set; with `train_on_prompt`
  /// everything but BOS and the answers without it is. Errors DataError: a role or an order of
  /// turns that the template cannot lay out.
  virtual Tokens encode_training(const std::vector<Message>& messages, const Tokenizer& tokenizer,
                                 bool train_on_prompt) const = 0;
  /// As encode_training. What the layout leaves out of the record is added to `notes`, a sentence
  /// each. Errors DataError: calls of tools, where the layout is no executed chat template.
  virtual Tokens encode_record(const Conversation& record, const Tokenizer& tokenizer,
                               bool train_on_prompt, std::vector<std::string>& notes) const;
  /// Ids of a conversation that ends with a user turn, with the header of the answer that the model
  /// is to write.
  virtual std::vector<TokenId> encode_prompt(const std::vector<Message>& messages,
                                             const Tokenizer& tokenizer) const = 0;
  /// Ids that end an answer: EOS and the template's own end-of-turn token.
  virtual std::vector<TokenId> stop_ids(const Tokenizer& tokenizer) const = 0;
  /// Goes into the fingerprint of prepared data.
  virtual std::string sha256() const = 0;
};

/// Ids of a plain text sample: the tokenizer's special tokens around it and EOS behind it, each
/// where the text does not hold it already. All but BOS is learnt.
Tokens encode_text(const std::string& text, const Tokenizer& tokenizer);
/// Ids of a text that the model is to go on with: as encode_text, without EOS.
std::vector<TokenId> encode_raw_prompt(const std::string& text, const Tokenizer& tokenizer);

/// Whether data that were laid out by the template of this fingerprint have the ids that
/// `prompt_template` gives: it is that template, or that one is the built-in layout of the base
/// model's chat template and lays out alike.
bool lays_out_as(const PromptTemplate& prompt_template, const std::string& sha256,
                 const Tokenizer& tokenizer);

using TemplateFactory = std::unique_ptr<PromptTemplate> (*)(const Tokenizer&);
const Registry<TemplateFactory>& prompt_templates();

/// `name` is auto or another line of templates.def. auto executes the tokenizer's chat template; a
/// template that cannot be executed gives way, with a warning, to the family whose markers it
/// writes; without one it is alpaca.
/// Errors  ConfigError with the known names.
std::unique_ptr<PromptTemplate> make_template(const std::string& name, const Tokenizer& tokenizer);

}  // namespace lora_dist
