// Text to token ids and back, as the base model's own tokenizer files say.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/samples/tokens.hpp"

namespace lora_dist {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text`. Special tokens written in the text (<|im_start|>) are recognised as themselves.
  /// With `add_special_tokens` the post-processor's BOS/EOS are put around it, as Hugging Face's
  /// tokenizer does. Thread-safe.
  virtual std::vector<TokenId> encode(std::string_view text, bool add_special_tokens) const = 0;
  /// Text of ids; `skip_special_tokens` leaves special ones out.
  virtual std::string decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const = 0;
  /// The vocabulary's own spelling of a token ("Ġthe", "▁the", "<0x0A>").
  virtual std::string piece(TokenId id) const = 0;

  /// Number of ids including added tokens (the largest id + 1).
  virtual int64_t vocab_size() const = 0;
  /// -1 where the model has none.
  virtual TokenId bos_id() const = 0;
  virtual TokenId eos_id() const = 0;
  virtual TokenId pad_id() const = 0;
  /// What ends a text in training: EOS, unless the model's generation_config.json names ids that
  /// end a text and EOS is not among them; then the first of these.
  virtual TokenId end_id() const { return eos_id(); }
  /// Whether `id` is EOS or one of those.
  virtual bool ends_text(TokenId id) const { return id >= 0 && id == eos_id(); }
  /// -1 where `piece` is not a token.
  virtual TokenId id_of(std::string_view piece) const = 0;

  /// `chat_template` of the tokenizer files, empty where there is none.
  virtual const std::string& chat_template() const = 0;
  /// SHA-256 of the files that define the tokenizer.
  virtual const std::string& sha256() const = 0;
};

/// Loads the tokenizer of a model folder: tokenizer.json (+ tokenizer_config.json,
/// special_tokens_map.json, chat_template.jinja). Errors  ModelError: file missing, or a component
/// that is not known, by name.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& model_dir);

}  // namespace lora_dist
