// The end of a language model: a norm, and the product with the vocabulary's vectors.
//
// Logits are made in chunks of rows that have a label; never the whole (N, V).
//
// Shapes: N rows, R of them with a label, D width, V vocabulary.
#pragma once

#include "core/losses/loss.hpp"
#include "core/models/layers/linear.hpp"
#include "core/models/layers/rms_norm.hpp"
#include "core/models/profile.hpp"

namespace lora_dist {

struct HeadSpec {
  int64_t width = 0, vocab_size = 0;
  double softcap = 0;  // of the logits; 0: none
};

/// Rows of hidden states that should name a token.
struct LabelledRows {
  at::Tensor rows_R;  // int64, numbers of rows
  RowTargets targets;
};

struct HeadLosses {
  at::Tensor sum;     // 0-dim, fp64: of the weighted losses of all rows
  at::Tensor rows_R;  // fp64: the loss of each row, before its weight
};

/// Rows of logits that are computed at once, of `rows` with a label.
int64_t logit_chunk_rows(int64_t rows, int64_t bytes_per_row);
LayerCost head_cost(const HeadSpec& spec, const PassShape& shape, const Loss& loss);
/// The buffer for one chunk of logits, which a head keeps.
int64_t head_buffer_bytes(const HeadSpec& spec, const PassShape& shape);

class LanguageHead {
 public:
  LanguageHead() = default;
  LanguageHead(const HeadSpec& spec, RmsNorm norm, FrozenWeight weight_VD)
      : spec_(spec), norm_(std::move(norm)), weight_VD_(weight_VD) {}

  /// `dhidden_ND` (if not null) receives the gradient of the sum, zero in rows without a label.
  HeadLosses losses(const at::Tensor& hidden_ND, const LabelledRows& labelled, const Loss& loss,
                    at::Tensor* dhidden_ND);
  /// fp32 (N, V).
  at::Tensor logits(const at::Tensor& hidden_ND) const;

 private:
  HeadSpec spec_;
  RmsNorm norm_;
  FrozenWeight weight_VD_;
  // The largest temporary, kept: taken and freed at the peak of every step, it would leave holes in
  // the heap that do not fit it again.
  at::Tensor buffer_CV_;
};

}  // namespace lora_dist
