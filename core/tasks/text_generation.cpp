#include "core/tasks/text_generation.hpp"

#include <algorithm>
#include <numeric>

#include "core/base/error.hpp"
#include "core/losses/loss.hpp"
#include "core/models/decoder/decoder_pass.hpp"
#include "core/samples/tokens.hpp"
#include "core/tasks/task_kind.hpp"
#include "core/tasks/text_batch.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kPadId = 0;  // any id will do: no label and no real token looks at it

class TextGeneration final : public Task {
 public:
  explicit TextGeneration(Decoder& model) : model_(model), loss_(losses().at("cross_entropy")()) {}

  double forward_backward(const Batch& batch, const PassContext& pass,
                          const GradientProgress& progress) override {
    const TextBatch texts = text_batch_of(batch);
    DecoderPass run(model_, texts, pass, /*with_gradients=*/true);
    run.forward();
    const at::Tensor sum = run.losses(*loss_).sum;
    run.backward(progress);
    return sum.item<double>();  // a GPU is waited for here, with the whole micro-batch before it
  }

  double loss(const Batch& batch, const PassContext& pass) override {
    const TextBatch texts = text_batch_of(batch);
    DecoderPass run(model_, texts, pass, /*with_gradients=*/false);
    run.forward();
    return run.losses(*loss_).sum.item<double>();
  }

  void accompany(bool with_gradients, const GradientProgress& progress) override {
    model_.accompany(with_gradients, progress);
  }

 private:
  Decoder& model_;
  std::unique_ptr<Loss> loss_;
};

enum TextColumn : size_t { kTokensColumn, kMaskColumn };

SampleMeasure measure_text(SampleView sample) {
  const ColumnView& mask = sample[kMaskColumn];
  const auto length = static_cast<size_t>(mask.num_elements);
  return {.cost = mask.num_elements,
          .loss_terms = count_labels(std::span(mask.as<uint8_t>(), length))};
}

/// Writes one batch, sample by sample. Plain loops: a parallel fill of LibTorch would start a
/// second pool of threads from the thread that reads ahead.
class TextCollator {
 public:
  explicit TextCollator(const Slot& slot) : width_(slot.padded_length) {
    const std::vector<int64_t> shape = {slot.num_rows(), width_};
    text_.tokens_BT = at::empty(shape, at::kLong);
    text_.labels_BT = at::empty(shape, at::kLong);
    if (!slot.row_sizes.empty()) text_.positions_BT = at::empty(shape, at::kLong);
  }

  void add_row(std::span<const Sample> samples, int64_t row) {
    int64_t* tokens = text_.tokens_BT.mutable_data_ptr<int64_t>() + row * width_;
    int64_t* labels = text_.labels_BT.mutable_data_ptr<int64_t>() + row * width_;
    int64_t* positions = text_.positions_BT.defined()
                             ? text_.positions_BT.mutable_data_ptr<int64_t>() + row * width_
                             : nullptr;
    std::fill(labels, labels + width_, kIgnoredLabel);
    int64_t used = 0;
    for (const Sample& sample : samples) {
      const auto* ids = sample.values[kTokensColumn].const_data_ptr<TokenId>();
      const auto* mask = sample.values[kMaskColumn].const_data_ptr<uint8_t>();
      const int64_t length = sample.values[kTokensColumn].numel();
      LD_CHECK(used + length <= width_, "samples longer than their slot");
      std::copy(ids, ids + length, tokens + used);
      for (int64_t t = 0; t + 1 < length; ++t) {
        if (mask[t + 1] == 0) continue;
        labels[used + t] = ids[t + 1];
        ++num_labels_;
      }
      if (positions) std::iota(positions + used, positions + used + length, int64_t{0});
      used += length;
    }
    std::fill(tokens + used, tokens + width_, kPadId);
    if (positions) std::iota(positions + used, positions + width_, int64_t{0});
    if (!positions) text_.lengths.push_back(used);
    num_tokens_ += used;
  }

  Batch batch() const { return to_batch(text_, num_labels_, num_tokens_); }

 private:
  int64_t width_;
  TextBatch text_;
  int64_t num_labels_ = 0, num_tokens_ = 0;
};

Batch collate_texts(const std::vector<Sample>& samples, const Slot& slot) {
  TextCollator collator(slot);
  std::span<const Sample> left(samples);
  for (int64_t row = 0; row < slot.num_rows(); ++row) {
    const size_t size = slot.row_sizes.empty() ? 1 : static_cast<size_t>(slot.row_sizes[row]);
    collator.add_row(left.first(size), row);
    left = left.subspan(size);
  }
  return collator.batch();
}

SampleSchema text_schema(const SampleLimits& limits) {
  return {.task = kTextGeneration,
          .columns = {{.name = "tokens",
                       .dtype = at::kInt,
                       .offsets = "offsets",
                       .num_values = limits.vocab_size > 0 ? limits.vocab_size : int64_t{1} << 31,
                       .max_elements = limits.max_seq_length},
                      {.name = "loss_mask",
                       .dtype = at::kByte,
                       .offsets = "offsets",
                       .max_elements = limits.max_seq_length,
                       .measured = true}},
          .origins = {"tokenizer_sha256", "template_sha256"},
          .measure = measure_text,
          .collate = collate_texts};
}

}  // namespace

std::unique_ptr<Task> make_text_generation_task(Decoder& model) {
  return std::make_unique<TextGeneration>(model);
}

TaskKind text_generation_task() {
  return {.schema = text_schema,
          .make = [](Model& model) { return make_text_generation_task(as_decoder(model)); }};
}

}  // namespace lora_dist
