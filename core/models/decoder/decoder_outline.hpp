// A LLaMA-type decoder before its weights: the table of its tensors, its units, its costs.
//
// Unit 0 is the embedding, unit 1 + n block n; behind the blocks comes the head with the final
// norm. A head that is tied to the embedding is unit 0 again.
#pragma once

#include "core/models/decoder/decoder_spec.hpp"
#include "core/models/model.hpp"

namespace lora_dist {

class DecoderOutline final : public ModelOutline {
 public:
  explicit DecoderOutline(DecoderSpec spec);

  const DecoderSpec& spec() const { return spec_; }
  const std::string& model_type() const override { return spec_.model_type; }
  const WeightTable& table() const override { return table_; }
  int64_t num_blocks() const override { return spec_.num_blocks(); }
  std::vector<size_t> units_of_pass(int64_t lowest_block) const override;
  ModelProfile profile(const PassShape& shape, const AdapterLoadOf& adapters) const override;
  /// Embedding and head (tied_head.hpp).
  void settle(WeightSource& weights) override;
  std::unique_ptr<Model> build(WeightSource& weights, const ModelOptions& options) const override;

  /// "model.layers.3"
  static std::string block_path(int64_t block);
  static constexpr const char *kModel = "model", *kFinalNorm = "norm";  // module names

 private:
  size_t unit_of_block(int64_t block) const { return 1 + static_cast<size_t>(block); }
  size_t unit_of_head() const { return spec_.tied_embeddings ? 0 : unit_of_block(num_blocks()); }
  WeightTable make_table() const;

  DecoderSpec spec_;
  WeightTable table_;
};

/// What a family's file ends with.
std::unique_ptr<ModelOutline> make_decoder_outline(DecoderSpec spec);
/// Errors  ModelError: `outline` is that of no language model.
const DecoderSpec& decoder_spec_of(const ModelOutline& outline);
/// What the config.json of a language model says; `where` names the file. Errors  ModelError.
DecoderSpec read_decoder_spec(const nlohmann::ordered_json& config, const std::string& where);

}  // namespace lora_dist
