#include "core/models/decoder.hpp"

#include <set>
#include <unordered_map>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/models/decoder_units.hpp"
#include "core/ops/pieces.hpp"
#include "core/trace.hpp"

namespace lora_dist {
namespace {

constexpr size_t kLongestShownName = 200;
// Logits of one chunk of rows; never the whole (N, V). Larger products run at a better rate.
constexpr int64_t kLogitChunkBytes = 128 << 20;

bool is_ignored_weight(const DecoderSpec& spec, const std::string& name) {
  // Old exports keep the rotation's frequencies, and tied models sometimes a copy of the embedding.
  return name.ends_with(".rotary_emb.inv_freq") ||
         (spec.tied_embeddings && name == "lm_head.weight");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// "3 tensors: a, b, c", at most three of them by name.
std::string first_of(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 3);
  return fmt::format("{} tensor{}: {}{}", names.size(), names.size() == 1 ? "" : "s",
                     fmt::join(names.begin(), names.begin() + static_cast<int64_t>(shown), ", "),
                     names.size() > shown ? ", ..." : "");
}

// Every row of the family's table with its shape; of others a warning tells, as transformers' does.
std::unordered_map<std::string, size_t> check_weights(const DecoderSpec& spec,
                                                      const WeightSource& source) {
  std::unordered_map<std::string, size_t> found;
  for (size_t i = 0; i < source.weights().size(); ++i) found[source.weights()[i].name] = i;
  std::vector<std::string> missing;
  std::set<std::string> known;
  for (const WeightRow& row : weight_rows(spec)) {
    known.insert(row.name);
    const auto place = found.find(row.name);
    if (place == found.end()) {
      missing.push_back(row.name);
    } else if (source.weights()[place->second].shape != row.shape) {
      throw ModelError({.where = source.location(),
                        .found = fmt::format("'{}' is {}", row.name,
                                             shape_text(source.weights()[place->second].shape)),
                        .expected = fmt::format("{} by config.json", shape_text(row.shape)),
                        .fix = "weights and config.json belong to different models"});
    }
  }
  if (!missing.empty()) {
    const size_t shown = std::min<size_t>(missing.size(), 3);
    throw ModelError(
        {.where = source.location(),
         .found = fmt::format("{} tensor{} missing: {}{}", missing.size(),
                              missing.size() == 1 ? "" : "s",
                              fmt::join(missing.begin(), missing.begin() + shown, ", "),
                              missing.size() > shown ? ", ..." : ""),
         .expected = {},
         .fix = "wrong or incomplete base"});
  }
  std::vector<std::string> unused;
  for (const WeightInfo& weight : source.weights()) {
    if (!known.count(weight.name) && !is_ignored_weight(spec, weight.name))
      unused.push_back(weight.name.substr(0, kLongestShownName));
  }
  if (!unused.empty())
    log_warning(fmt::format("{}: not used, for no layer of '{}' has them: {}", source.location(),
                            spec.model_type, first_of(unused)));
  return found;
}

// (tokens, rotary / 2), fp32
at::Tensor angles_of(int64_t tokens, const RopeFrequencies& rope) {
  const at::Tensor inverse = at::tensor(rope.inverse_frequencies, at::kFloat);
  return at::arange(tokens, at::kFloat).unsqueeze(1) * inverse.unsqueeze(0);
}

// One sample of a batch, with the padding behind it.
struct SampleSpan {
  int64_t rows, tokens;  // tokens: without the padding, where it is known
};

// In the order of the rows. In packed rows a position of 0 begins a sample; the padding is one.
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

// Chunks of equal size: a short one at the end would run at a worse rate.
int64_t logit_chunk_rows(int64_t rows, int64_t bytes_per_row) {
  return ops::Pieces(rows, std::max<int64_t>(1, kLogitChunkBytes / bytes_per_row)).size;
}

Decoder::Decoder(DecoderSpec spec, WeightSource& weights, DecoderOptions options)
    : spec_(std::move(spec)), options_(options), weights_(weights) {
  const auto places = check_weights(spec_, weights);
  const auto find = [&](const std::string& name) { return FrozenWeight(weights, places.at(name)); };
  embedding_ = find(spec_.embedding_weight);
  if (!spec_.tied_embeddings) head_ = find("lm_head.weight");
  final_norm_ = find("model.norm.weight").get().to(options_.device, at::kFloat).contiguous();
  blocks_.reserve(spec_.num_layers);
  for (int64_t layer = 0; layer < spec_.num_layers; ++layer)
    blocks_.emplace_back(spec_, layer, find, options_.device);
}

std::vector<LinearGroup*> Decoder::linear_groups() {
  std::vector<LinearGroup*> all;
  for (DecoderBlock& block : blocks_) {
    for (LinearGroup* group : block.linear_groups()) all.push_back(group);
  }
  return all;
}

at::Tensor Decoder::embed(const at::Tensor& tokens_N) const {
  const trace::Span span("embedding");
  at::Tensor hidden = at::index_select(embedding_.get(), 0, tokens_N).to(options_.compute);
  // The factor is rounded to the activations' dtype, as transformers does.
  if (spec_.embedding_scale != 1)
    hidden.mul_(at::scalar_tensor(spec_.embedding_scale).to(options_.compute));
  return hidden;
}

ops::Rotation Decoder::rotation_by(const at::Tensor& angles_TH, double attention_factor) const {
  return {(angles_TH.cos() * attention_factor).to(options_.device),
          (angles_TH.sin() * attention_factor).to(options_.device), 2 * angles_TH.size(1)};
}

RopeFrequencies Decoder::frequencies(int64_t tokens) const {
  return rope_frequencies(spec_.rope, spec_.head_dim, spec_.max_positions, tokens);
}

ops::Rotation Decoder::rotation(int64_t first_position, int64_t tokens) {
  const int64_t needed = first_position + tokens;
  const int64_t known = rotation_table_.cos_TH.defined() ? rotation_table_.cos_TH.size(0) : 0;
  if (spec_.rope.depends_on_length() ? known != needed : known < needed) {
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
  if (spec_.rope.depends_on_length()) {
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

BlockContext Decoder::context_of(const TextBatch& batch, const BatchLayout& layout,
                                 const PassContext& pass) const {
  return {.batch = batch.tokens_BT.size(0),
          .tokens = batch.tokens_BT.size(1),
          .rotation = &layout.rotation,
          .pass = pass,
          .starts_BT = layout.starts_BT,
          .samples = layout.samples,
          .deterministic = options_.deterministic,
          .rotates_by_length = spec_.rope.depends_on_length()};
}

at::Tensor Decoder::head_loss(const at::Tensor& hidden_ND, const at::Tensor& labels_BT,
                              at::Tensor* dhidden_ND) {
  const trace::Span span("head");
  if (dhidden_ND) *dhidden_ND = at::zeros_like(hidden_ND);
  at::Tensor sum = at::zeros({}, hidden_ND.options().dtype(at::kDouble));
  const at::Tensor host_labels_N = labels_BT.flatten();
  const at::Tensor host_rows = at::nonzero(host_labels_N != kIgnoredLabel).squeeze(1);
  if (host_rows.numel() == 0) return sum;
  const at::Tensor labels = host_labels_N.index_select(0, host_rows).to(options_.device);
  const at::Tensor rows = host_rows.to(options_.device);
  const at::Tensor weight_VD = head().get();
  const int64_t chunk = logit_chunk_rows(
      rows.numel(), spec_.vocab_size * static_cast<int64_t>(hidden_ND.element_size()));
  if (!logits_buffer_.defined() || logits_buffer_.size(0) < chunk)
    logits_buffer_ = at::empty({chunk, spec_.vocab_size}, hidden_ND.options());
  for (int64_t first = 0; first < rows.numel(); first += chunk) {
    const int64_t size = std::min(chunk, rows.numel() - first);
    const at::Tensor index = rows.narrow(0, first, size);
    const at::Tensor x_CD = hidden_ND.index_select(0, index);
    at::Tensor inv_rms;
    const at::Tensor normed_CD =
        ops::rms_norm(x_CD, final_norm_, spec_.norm_offset, spec_.rms_norm_eps, inv_rms);
    const at::Tensor logits_CV = logits_buffer_.narrow(0, 0, size);
    ops::product_into(logits_CV, normed_CD, weight_VD);
    sum.add_(ops::cross_entropy(logits_CV, labels.narrow(0, first, size), spec_.logit_softcap,
                                dhidden_ND != nullptr));
    if (!dhidden_ND) continue;
    at::Tensor dx_CD;
    ops::rms_norm_backward(x_CD, final_norm_, spec_.norm_offset, inv_rms,
                           ops::product_transposed(logits_CV, weight_VD), dx_CD);
    dhidden_ND->index_copy_(0, index, dx_CD);
  }
  return sum;
}

double Decoder::forward_backward(const TextBatch& batch, const PassContext& pass,
                                 const GradientProgress& progress) {
  const BatchLayout layout = layout_of(batch);
  const BlockContext context = context_of(batch, layout, pass);
  const int64_t lowest = lowest_learning_layer();
  WeightPass weights(weights_, units_of_pass(spec_, lowest));
  weights.enter_next_unit();
  at::Tensor hidden_ND = embed(batch.tokens_BT.flatten().to(options_.device));
  const BlockPlan plan{.lowest_learning = lowest, .recompute = options_.recompute_blocks};
  PlainPass plain(blocks_, context, plan);
  BlockPass& blocks = recorded_ ? recorded_->pass_for(context, plan) : plain;
  for (int64_t layer = 0; layer < spec_.num_layers; ++layer) {
    weights.enter_next_unit();
    hidden_ND = blocks.forward(layer, hidden_ND);
  }
  at::Tensor dhidden_ND;
  weights.enter_next_unit();
  const at::Tensor loss = head_loss(hidden_ND, batch.labels_BT, &dhidden_ND);
  hidden_ND.reset();
  const std::vector<int64_t> final_from = first_final_elements();
  for (int64_t layer = spec_.num_layers - 1; layer >= lowest; --layer) {
    weights.enter_next_unit();
    blocks.backward(layer, dhidden_ND);
    if (progress) progress(final_from[layer]);
  }
  return loss.item<double>();  // a GPU is waited for here, with the whole micro-batch before it
}

double Decoder::loss(const TextBatch& batch) {
  const BatchLayout layout = layout_of(batch);
  const BlockContext context = context_of(batch, layout, /*pass=*/{});
  WeightPass weights(weights_, units_of_pass(spec_, spec_.num_layers));
  weights.enter_next_unit();
  at::Tensor hidden_ND = embed(batch.tokens_BT.flatten().to(options_.device));
  for (DecoderBlock& block : blocks_) {
    weights.enter_next_unit();
    hidden_ND = block.forward(hidden_ND, context, nullptr, nullptr);
  }
  weights.enter_next_unit();
  return head_loss(hidden_ND, batch.labels_BT, nullptr).item<double>();
}

void Decoder::accompany(bool with_gradients, const GradientProgress& progress) {
  const int64_t lowest = with_gradients ? lowest_learning_layer() : spec_.num_layers;
  WeightPass weights(weights_, units_of_pass(spec_, lowest));
  const int64_t units_of_forward = 1 + spec_.num_layers + 1;  // with embedding and head
  for (int64_t unit = 0; unit < units_of_forward; ++unit) weights.enter_next_unit();
  const std::vector<int64_t> final_from = first_final_elements();
  for (int64_t layer = spec_.num_layers - 1; layer >= lowest; --layer) {
    weights.enter_next_unit();
    if (progress) progress(final_from[layer]);
  }
}

int64_t Decoder::lowest_learning_layer() {
  int64_t lowest = 0;
  while (lowest < spec_.num_layers && !blocks_[lowest].has_adapter()) ++lowest;
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
  cache.layers.resize(spec_.num_layers);
  return cache;
}

bool Decoder::outgrows(const KvCache& cache, int64_t more) const {
  const int64_t original = spec_.rope.original_max_positions;
  return spec_.rope.rotates_cache_anew && cache.length > 0 && cache.length <= original &&
         cache.length + more > original;
}

at::Tensor Decoder::logits(const std::vector<int64_t>& tokens, KvCache* cache, bool last_only) {
  const auto count = static_cast<int64_t>(tokens.size());
  const ops::Rotation table = rotation(cache ? cache->length : 0, count);
  const BlockContext context{1, count, &table, {}};
  WeightPass weights(weights_, units_of_pass(spec_, spec_.num_layers));
  weights.enter_next_unit();
  at::Tensor hidden_ND = embed(at::tensor(tokens, at::kLong).to(options_.device));
  for (int64_t layer = 0; layer < spec_.num_layers; ++layer) {
    weights.enter_next_unit();
    hidden_ND = blocks_[layer].forward(hidden_ND, context, nullptr,
                                       cache ? &cache->layers[layer] : nullptr);
  }
  if (cache) cache->length += count;
  weights.enter_next_unit();
  if (last_only) hidden_ND = hidden_ND.narrow(0, count - 1, 1);
  at::Tensor inv_rms;
  const at::Tensor normed_ND = ops::rms_norm(hidden_ND.contiguous(), final_norm_, spec_.norm_offset,
                                             spec_.rms_norm_eps, inv_rms);
  at::Tensor logits_TV = ops::product(normed_ND, head().get()).to(at::kFloat);
  if (spec_.logit_softcap > 0)
    logits_TV = spec_.logit_softcap * at::tanh(logits_TV / spec_.logit_softcap);
  return logits_TV;
}

}  // namespace lora_dist
