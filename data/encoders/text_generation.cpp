// Texts and conversations: token ids and what of them is learnt, cut to max_seq_length.
#include <algorithm>
#include <utility>

#include "core/base/error.hpp"
#include "core/samples/tokens.hpp"
#include "core/tasks/task_kind.hpp"
#include "data/encoders/sample_encoder.hpp"

namespace lora_dist {
namespace {

constexpr size_t kTokensColumn = 0;

[[noreturn]] void made_otherwise(const PartFile& part, const std::string& found,
                                 const std::string& expected, const std::string& fix) {
  throw DataError(
      {.where = part.path(), .found = "made with " + found, .expected = expected, .fix = fix});
}

/// Conversations go through the template; a text gets BOS as the tokenizer gives it and EOS, all of
/// it learnt. Cutting is on the right, as LLaMA-Factory does; a document goes on in further samples
/// instead.
class TextEncoder final : public SampleEncoder {
 public:
  explicit TextEncoder(const EncoderParts& parts)
      : schema_(tasks().at(kTextGeneration).schema(parts.limits)),
        max_seq_length_(parts.limits.max_seq_length),
        vocab_size_(parts.limits.vocab_size),
        train_on_prompt_(parts.train_on_prompt),
        skip_broken_records_(parts.skip_broken_records),
        tokenizer_(parts.tokenizer),
        prompt_template_(parts.prompt_template) {}

  const SampleSchema& schema() const override { return schema_; }

  EncodedRecord encode(const Record& record) const override {
    EncodedRecord encoded;
    const Tokens tokens = encoded_tokens(record, encoded.notes);
    require_known_ids(tokens, record.where);
    encoded.full_length = std::ssize(tokens.ids);
    encoded.cut = encoded.full_length > max_seq_length_ && !record.is_document;
    if (encoded.full_length <= max_seq_length_) {
      encoded.samples.push_back(to_sample(tokens));
      return encoded;
    }
    const int64_t kept = record.is_document ? encoded.full_length : max_seq_length_;
    for (int64_t begin = 0; begin < kept; begin += max_seq_length_) {
      const int64_t end = std::min(begin + max_seq_length_, kept);
      if (end - begin < 2 && begin > 0) break;  // a single left-over token predicts nothing
      encoded.samples.push_back(
          to_sample({{tokens.ids.begin() + begin, tokens.ids.begin() + end},
                     {tokens.loss_mask.begin() + begin, tokens.loss_mask.begin() + end}}));
    }
    return encoded;
  }

  std::string why_nothing_is_learnt(const EncodedRecord& encoded) const override {
    return fmt::format("{} tokens, {}", encoded.full_length,
                       encoded.full_length > max_seq_length_
                           ? fmt::format("no answer left within max_seq_length {}", max_seq_length_)
                           : "nothing in it is to be learnt");
  }

  void describe(nlohmann::ordered_json& made_from) const override {
    made_from["tokenizer_sha256"] = tokenizer_ != nullptr ? tokenizer_->sha256() : "";
    made_from["end_id"] = tokenizer_ != nullptr ? tokenizer_->end_id() : -1;
    made_from["template"] = prompt_template_ != nullptr ? prompt_template_->name() : "";
    made_from["template_sha256"] = prompt_template_ != nullptr ? prompt_template_->sha256() : "";
    made_from["max_seq_length"] = max_seq_length_;
    made_from["train_on_prompt"] = train_on_prompt_;
    made_from["skip_broken_records"] = skip_broken_records_;
    made_from["vocab_size"] = vocab_size_;
  }

  bool check(const PartFile& part) const override {
    require_same_origins(part);
    require_known_ids(part);
    return tokenizer_ != nullptr && !part.attributes().origin("tokenizer_sha256").empty();
  }

  std::string warn_of_unchecked(int64_t num_unchecked, size_t num_parts) const override {
    return fmt::format("{}; only the ids were checked against the vocabulary",
                       tokenizer_ == nullptr
                           ? "the base model has no tokenizer.json to compare with"
                           : fmt::format("{} of {} parts do not say which tokenizer made them",
                                         num_unchecked, num_parts));
  }

 private:
  Tokens encoded_tokens(const Record& record, std::vector<std::string>& notes) const {
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

  void require_known_ids(const Tokens& tokens, const std::string& where) const {
    for (size_t i = 0; i < tokens.ids.size(); ++i) {
      if (tokens.ids[i] >= 0 && tokens.ids[i] < vocab_size_) continue;
      throw DataError({.where = where,
                       .found = fmt::format("token {} has id {}, the vocabulary has {}", i,
                                            tokens.ids[i], vocab_size_),
                       .expected = {},
                       .fix = "use the tokenizer of this base model"});
    }
  }

  /// A part that a user brings names what it was made with; the run has to have the same.
  void require_same_origins(const PartFile& part) const {
    const std::string tokenizer_sha256 = part.attributes().origin("tokenizer_sha256"),
                      template_sha256 = part.attributes().origin("template_sha256");
    const int64_t max_seq_length = part.attributes().max_seq_length;
    if (tokenizer_ != nullptr && !tokenizer_sha256.empty() &&
        tokenizer_sha256 != tokenizer_->sha256())
      made_otherwise(part, "another tokenizer", "that of the base model",
                     "prepare the data again with this base_model");
    if (!template_sha256.empty() && prompt_template_ != nullptr &&
        !lays_out_as(*prompt_template_, template_sha256, *tokenizer_))
      made_otherwise(part, "another template",
                     fmt::format("that of this run, {}", prompt_template_->name()),
                     "set template as it was then, or prepare the data again");
    if (max_seq_length > 0 && max_seq_length != max_seq_length_)
      made_otherwise(
          part, fmt::format("max_seq_length {}", max_seq_length),
          fmt::format("{}, that of this run", max_seq_length_),
          fmt::format("set max_seq_length: {}, or prepare the data again", max_seq_length));
  }

  /// A file from elsewhere may say anything.
  void require_known_ids(const PartFile& part) const {
    constexpr uint64_t kTokensAtOnce = uint64_t{1} << 20;
    const uint64_t num_tokens = part.num_elements(kTokensColumn);
    for (uint64_t begin = 0; begin < num_tokens; begin += kTokensAtOnce) {
      const at::Tensor ids =
          part.read_elements(kTokensColumn, {begin, std::min(begin + kTokensAtOnce, num_tokens)});
      const auto* id = ids.const_data_ptr<TokenId>();
      for (int64_t i = 0; i < ids.numel(); ++i) {
        if (id[i] < vocab_size_) continue;
        throw DataError({.where = part.path(),
                         .found = fmt::format("/tokens[{}] = {}, the vocabulary has {}",
                                              begin + static_cast<uint64_t>(i), id[i], vocab_size_),
                         .expected = {},
                         .fix = {}});
      }
    }
  }

  SampleSchema schema_;
  int64_t max_seq_length_, vocab_size_;
  bool train_on_prompt_, skip_broken_records_;
  const Tokenizer* tokenizer_;
  const PromptTemplate* prompt_template_;
};

}  // namespace

std::unique_ptr<SampleEncoder> make_text_generation_encoder(const EncoderParts& parts) {
  return std::make_unique<TextEncoder>(parts);
}

}  // namespace lora_dist
