// From a record to the samples that the model sees: token ids and what of them is learnt, cut to
// max_seq_length.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "data/sources/source.hpp"

namespace lora_dist {

struct EncodedRecord {
  std::vector<Tokens> samples;  // one; of a document as many as it needs
  int64_t full_length = 0;      // tokens before cutting
  bool cut = false;
  std::vector<std::string> notes;  // as Record::notes: what the template leaves out
};

/// Labels of a sample once shifted: the first token is never predicted.
int64_t count_labels(std::span<const uint8_t> loss_mask);

class SampleEncoder {
 public:
  /// Both pointers may be null where all records are tokenised.
  SampleEncoder(const PrepareRequest& request, const Tokenizer* tokenizer,
                const PromptTemplate* prompt_template);

  /// Conversations go through the template; a text gets BOS as the tokenizer gives it and EOS, all
  /// of it learnt. Cutting is on the right, as LLaMA-Factory does; a document goes on in further
  /// samples instead. Errors  DataError: an id beyond the vocabulary.
  EncodedRecord encode(const Record& record) const;

 private:
  Tokens tokens_of(const Record& record, std::vector<std::string>& notes) const;
  void require_known_ids(const Tokens& tokens, const std::string& where) const;

  int64_t max_seq_length_, vocab_size_;
  bool train_on_prompt_;
  const Tokenizer* tokenizer_;
  const PromptTemplate* prompt_template_;
};

}  // namespace lora_dist
