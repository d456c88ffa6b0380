#include "core/tasks/text_batch.hpp"

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

constexpr auto kTokens = "tokens", kLabels = "labels", kPositions = "positions",
               kLengths = "lengths";

/// Undefined where the batch has no such column.
at::Tensor column_of(const Batch& batch, const char* name) {
  const auto found = batch.columns.find(name);
  return found == batch.columns.end() ? at::Tensor() : found->second;
}

}  // namespace

TextBatch text_batch_of(const Batch& batch) {
  TextBatch text{.tokens_BT = column_of(batch, kTokens),
                 .labels_BT = column_of(batch, kLabels),
                 .positions_BT = column_of(batch, kPositions)};
  LD_CHECK(text.tokens_BT.defined() && text.labels_BT.defined(), "a batch of texts");
  if (const at::Tensor lengths_B = column_of(batch, kLengths); lengths_B.defined()) {
    const int64_t* first = lengths_B.const_data_ptr<int64_t>();
    text.lengths.assign(first, first + lengths_B.numel());
  }
  return text;
}

Batch to_batch(const TextBatch& text, int64_t loss_terms, int64_t cost) {
  Batch batch{.columns = {{kTokens, text.tokens_BT}, {kLabels, text.labels_BT}},
              .loss_terms = loss_terms,
              .cost = cost};
  if (text.positions_BT.defined()) batch.columns[kPositions] = text.positions_BT;
  if (!text.lengths.empty()) batch.columns[kLengths] = at::tensor(text.lengths, at::kLong);
  return batch;
}

}  // namespace lora_dist
