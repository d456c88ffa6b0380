#include "core/models/decoder/decoder.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"

namespace lora_dist {
namespace {

// (tokens, rotary / 2), fp32
at::Tensor angles_of(int64_t tokens, const RopeFrequencies& rope) {
  const at::Tensor inverse = at::tensor(rope.inverse_frequencies, at::kFloat);
  return at::arange(tokens, at::kFloat).unsqueeze(1) * inverse.unsqueeze(0);
}

// One sample of a batch, with the padding behind it.
struct SampleSpan {
  int64_t rows, tokens;  // tokens: without the padding, where it is known
};

// The samples of a batch, row by row. In packed rows a position of 0 begins a sample, and the
// padding counts as one.
std::vector<SampleSpan> sample_spans(const TextBatch& batch) {
  const int64_t num_rows = batch.tokens_BT.size(0), width = batch.tokens_BT.size(1);
  std::vector<SampleSpan> spans;
  if (!batch.positions_BT.defined()) {
    for (int64_t row = 0; row < num_rows; ++row)
      spans.push_back({width, batch.lengths.empty() ? width : batch.lengths[row]});
    return spans;
  }
  const at::Tensor positions = batch.positions_BT.contiguous();
  const int64_t* position = positions.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < num_rows * width; ++i) {
    if (position[i] == 0 || i % width == 0) spans.push_back({0, 0});
    ++spans.back().rows;
    ++spans.back().tokens;
  }
  return spans;
}

}  // namespace

HeadSpec head_spec(const DecoderSpec& spec) {
  return {spec.hidden_size, spec.vocab_size, spec.logit_softcap};
}

Decoder& as_decoder(Model& model) {
  decoder_spec_of(model.outline());  // or it says what the model is
  return static_cast<Decoder&>(model);
}

Decoder::Decoder(DecoderSpec spec, WeightSource& weights, ModelOptions options)
    : outline_(std::move(spec)), options_(options), weights_(weights) {
  const auto places = match_weights(outline_.table(), weights, outline_.model_type());
  const FindWeight find = [&](const std::string& name) {
    return FrozenWeight(weights, places.at(name));
  };
  const DecoderSpec& facts = this->spec();
  embedding_ = Embedding(find(facts.embedding_weight), facts.embedding_scale);
  blocks_.reserve(facts.blocks.size());
  for (int64_t block = 0; block < facts.num_blocks(); ++block)
    blocks_.emplace_back(facts.blocks[block], facts.norm,
                         WeightScope(find, DecoderOutline::block_path(block), options_.device));
  const WeightScope model(find, DecoderOutline::kModel, options_.device);
  head_ =
      LanguageHead(head_spec(facts), RmsNorm(model.vector(DecoderOutline::kFinalNorm), facts.norm),
                   find(facts.tied_embeddings ? facts.embedding_weight : kHeadWeight));
}

std::vector<LinearGroup*> Decoder::linear_groups() {
  std::vector<LinearGroup*> all;
  for (DecoderBlock& block : blocks_) {
    for (LinearGroup* group : block.linear_groups()) all.push_back(group);
  }
  return all;
}

at::Tensor Decoder::embed(const at::Tensor& tokens_N) const {
  return embedding_.forward(tokens_N.to(options_.device), options_.compute);
}

ops::Rotation Decoder::rotation_by(const at::Tensor& angles_TH, double attention_factor) const {
  return {(angles_TH.cos() * attention_factor).to(options_.device),
          (angles_TH.sin() * attention_factor).to(options_.device), 2 * angles_TH.size(1)};
}

RopeFrequencies Decoder::frequencies(int64_t tokens) const {
  return rope_frequencies(spec().rope, spec().head_dim(), spec().max_positions, tokens);
}

ops::Rotation Decoder::rotation(int64_t first_position, int64_t tokens) {
  const int64_t needed = first_position + tokens;
  const int64_t known = rotation_table_.cos_TH.defined() ? rotation_table_.cos_TH.size(0) : 0;
  if (spec().rope.depends_on_length() ? known != needed : known < needed) {
    const RopeFrequencies rope = frequencies(needed);
    rotation_table_ = rotation_by(angles_of(needed, rope), rope.attention_factor);
  }
  return {rotation_table_.cos_TH.narrow(0, first_position, tokens),
          rotation_table_.sin_TH.narrow(0, first_position, tokens), rotation_table_.rotary};
}

// A table for all N rows, each sample with the frequencies that it has alone: neither padding nor
// its neighbours change them.
ops::Rotation Decoder::rotation_by_lengths(const TextBatch& batch) const {
  std::vector<at::Tensor> angles;
  double attention_factor = 1;
  for (const SampleSpan& sample : sample_spans(batch)) {
    const RopeFrequencies rope = frequencies(sample.tokens);
    angles.push_back(angles_of(sample.rows, rope));
    attention_factor = rope.attention_factor;  // alike for all lengths
  }
  return rotation_by(at::cat(angles), attention_factor);
}

// A table for all N rows of packed ones, since a position is that in its own sample.
Decoder::BatchLayout Decoder::layout_of(const TextBatch& batch) {
  const int64_t tokens = batch.tokens_BT.size(1);
  BatchLayout layout;
  if (spec().rope.depends_on_length()) {
    layout.rotation = rotation_by_lengths(batch);
  } else if (!batch.positions_BT.defined()) {
    layout.rotation = rotation(0, tokens);
  } else {
    layout.rotation = rotation(0, batch.positions_BT.max().item<int64_t>() + 1);
    const at::Tensor positions_N = batch.positions_BT.flatten().to(options_.device);
    layout.rotation.cos_TH = layout.rotation.cos_TH.index_select(0, positions_N);
    layout.rotation.sin_TH = layout.rotation.sin_TH.index_select(0, positions_N);
  }
  if (!batch.positions_BT.defined()) return layout;
  layout.starts_BT = (at::arange(tokens, at::kLong) - batch.positions_BT).contiguous();
  if (options_.device.is_cpu()) return layout;
  if (auto samples = ops::sample_rows(layout.starts_BT)) {  // once, not in every layer
    ops::add_empty_samples(*samples);
    layout.samples = {samples->first_rows.to(options_.device), samples->longest};
  }
  return layout;
}

void Decoder::accompany(bool with_gradients, const GradientProgress& progress) {
  const int64_t lowest = with_gradients ? lowest_learning_block() : spec().num_blocks();
  WeightPass weights(weights_, outline_.units_of_pass(lowest));
  const int64_t units_of_forward = 1 + spec().num_blocks() + 1;  // with embedding and head
  for (int64_t unit = 0; unit < units_of_forward; ++unit) weights.enter_next_unit();
  const std::vector<int64_t> final_from = first_final_elements();
  for (int64_t block = spec().num_blocks() - 1; block >= lowest; --block) {
    weights.enter_next_unit();
    if (progress) progress(final_from[block]);
  }
}

int64_t Decoder::lowest_learning_block() {
  int64_t lowest = 0;
  while (lowest < spec().num_blocks() && !blocks_[lowest].has_adapter()) ++lowest;
  return lowest;
}

std::vector<int64_t> Decoder::first_final_elements() {
  std::vector<int64_t> first_final;
  int64_t end = 0;
  for (DecoderBlock& block : blocks_) {
    first_final.push_back(end);
    end = std::max(end, block.end_of_gradients());
  }
  return first_final;
}

KvCache Decoder::make_cache() const {
  KvCache cache;
  cache.layers.resize(spec().num_blocks());
  return cache;
}

bool Decoder::outgrows(const KvCache& cache, int64_t more) const {
  const int64_t original = spec().rope.original_max_positions;
  return spec().rope.rotates_cache_anew && cache.length > 0 && cache.length <= original &&
         cache.length + more > original;
}

at::Tensor Decoder::logits(const std::vector<int64_t>& tokens, KvCache* cache, bool last_only,
                           const PassContext& pass) {
  require_attached(linear_groups(), pass);
  const auto count = static_cast<int64_t>(tokens.size());
  const ops::Rotation table = rotation(cache ? cache->length : 0, count);
  const SequenceContext context{1, count, &table, pass};
  WeightPass weights(weights_, outline_.units_of_pass(spec().num_blocks()));
  weights.enter_next_unit();
  at::Tensor hidden_ND = embed(at::tensor(tokens, at::kLong));
  for (int64_t block = 0; block < spec().num_blocks(); ++block) {
    weights.enter_next_unit();
    hidden_ND = blocks_[block].forward(hidden_ND, context, nullptr,
                                       cache ? &cache->layers[block] : nullptr);
  }
  if (cache) cache->length += count;
  weights.enter_next_unit();
  return head_.logits(last_only ? hidden_ND.narrow(0, count - 1, 1) : hidden_ND);
}

}  // namespace lora_dist
