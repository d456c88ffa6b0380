#include "data/sample_encoder.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace lora_dist {

int64_t count_labels(std::span<const uint8_t> loss_mask) {
  if (loss_mask.empty()) return 0;
  return std::count_if(loss_mask.begin() + 1, loss_mask.end(),
                       [](uint8_t learnt) { return learnt != 0; });
}

SampleEncoder::SampleEncoder(const PrepareRequest& request, const Tokenizer* tokenizer,
                             const PromptTemplate* prompt_template)
    : max_seq_length_(request.max_seq_length),
      vocab_size_(request.vocab_size),
      train_on_prompt_(request.train_on_prompt),
      tokenizer_(tokenizer),
      prompt_template_(prompt_template) {}

EncodedRecord SampleEncoder::encode(const Record& record) const {
  EncodedRecord encoded;
  Tokens tokens = tokens_of(record, encoded.notes);
  require_known_ids(tokens, record.where);
  encoded.full_length = static_cast<int64_t>(tokens.ids.size());
  encoded.cut = encoded.full_length > max_seq_length_ && !record.is_document;
  if (encoded.full_length <= max_seq_length_) {
    encoded.samples.push_back(std::move(tokens));
    return encoded;
  }
  const int64_t kept = record.is_document ? encoded.full_length : max_seq_length_;
  for (int64_t begin = 0; begin < kept; begin += max_seq_length_) {
    const int64_t end = std::min(begin + max_seq_length_, kept);
    if (end - begin < 2 && begin > 0) break;  // a single left-over token predicts nothing
    encoded.samples.push_back({{tokens.ids.begin() + begin, tokens.ids.begin() + end},
                               {tokens.loss_mask.begin() + begin, tokens.loss_mask.begin() + end}});
  }
  return encoded;
}

Tokens SampleEncoder::tokens_of(const Record& record, std::vector<std::string>& notes) const {
  const bool is_text = !record.messages.empty() || !record.text.empty();
  LD_CHECK(!is_text || (tokenizer_ != nullptr && prompt_template_ != nullptr),
           "text needs a tokenizer and a template");
  if (!record.messages.empty()) {
    try {
      return prompt_template_->encode_record({record.messages, record.tools, record.documents},
                                             *tokenizer_, train_on_prompt_, notes);
    } catch (const DataError& error) {  // a template knows turns, not where they come from
      throw DataError({.where = record.where, .found = error.what(), .expected = {}, .fix = {}});
    }
  }
  if (record.text.empty()) return record.tokens;
  return encode_text(record.text, *tokenizer_);
}

void SampleEncoder::require_known_ids(const Tokens& tokens, const std::string& where) const {
  LD_CHECK(tokens.ids.size() == tokens.loss_mask.size(), "one mask entry per token");
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    if (tokens.ids[i] >= 0 && tokens.ids[i] < vocab_size_) continue;
    throw DataError({.where = where,
                     .found = fmt::format("token {} has id {}, the vocabulary has {}", i,
                                          tokens.ids[i], vocab_size_),
                     .expected = {},
                     .fix = "use the tokenizer of this base model"});
  }
}

}  // namespace lora_dist
