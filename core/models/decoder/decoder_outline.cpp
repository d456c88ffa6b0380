#include "core/models/decoder/decoder_outline.hpp"

#include "core/base/error.hpp"
#include "core/losses/loss.hpp"
#include "core/models/decoder/decoder.hpp"
#include "core/models/decoder/tied_head.hpp"
#include "core/models/layers/language_head.hpp"
#include "core/models/model_families.hpp"

namespace lora_dist {
namespace {

constexpr size_t kEmbeddingUnit = 0;

}  // namespace

DecoderOutline::DecoderOutline(DecoderSpec spec) : spec_(std::move(spec)), table_(make_table()) {}

std::string DecoderOutline::block_path(int64_t block) {
  return fmt::format("{}.layers.{}", kModel, block);
}

WeightTable DecoderOutline::make_table() const {
  WeightTable table;
  table.add({spec_.embedding_weight,
             {spec_.vocab_size, spec_.hidden_size},
             WeightRole::embedding,
             kEmbeddingUnit});
  TableScope(table, kModel, unit_of_head(), /*depth=*/-1).norm(kFinalNorm, spec_.hidden_size);
  if (!spec_.tied_embeddings)
    table.add(
        {kHeadWeight, {spec_.vocab_size, spec_.hidden_size}, WeightRole::head, unit_of_head()});
  for (int64_t block = 0; block < num_blocks(); ++block)
    add_block_rows(spec_.blocks[block],
                   TableScope(table, block_path(block), unit_of_block(block), block));
  // Old exports keep the rotation's frequencies, and tied models sometimes a copy of the embedding.
  table.ignore(".rotary_emb.inv_freq");
  if (spec_.tied_embeddings) table.ignore(kHeadWeight);
  return table;
}

std::vector<size_t> DecoderOutline::units_of_pass(int64_t lowest_block) const {
  std::vector<size_t> units = {kEmbeddingUnit};
  for (int64_t block = 0; block < num_blocks(); ++block) units.push_back(unit_of_block(block));
  units.push_back(unit_of_head());
  for (int64_t block = num_blocks() - 1; block >= lowest_block; --block)
    units.push_back(unit_of_block(block));
  return units;
}

ModelProfile DecoderOutline::profile(const PassShape& shape, const AdapterLoadOf& adapters) const {
  const HeadSpec head = head_spec(spec_);
  ModelProfile profile;
  profile.hidden_bytes = shape.activation(spec_.hidden_size);
  for (int64_t block = 0; block < num_blocks(); ++block)
    profile.blocks.push_back(block_cost(spec_.blocks[block], block_path(block), shape, adapters));
  profile.head = head_cost(head, shape, *losses().at("cross_entropy")());
  profile.head_buffer_bytes = head_buffer_bytes(head, shape);
  return profile;
}

void DecoderOutline::settle(WeightSource& weights) {
  settle_head(spec_, weights);
  table_ = make_table();
}

std::unique_ptr<Model> DecoderOutline::build(WeightSource& weights,
                                             const ModelOptions& options) const {
  return std::make_unique<Decoder>(spec_, weights, options);
}

std::unique_ptr<ModelOutline> make_decoder_outline(DecoderSpec spec) {
  return std::make_unique<DecoderOutline>(std::move(spec));
}

const DecoderSpec& decoder_spec_of(const ModelOutline& outline) {
  const auto* decoder = dynamic_cast<const DecoderOutline*>(&outline);
  if (!decoder)
    throw ModelError({.where = "base_model",
                      .found = fmt::format("a model of type '{}'", outline.model_type()),
                      .expected = "a language model",
                      .fix = "choose a language model as base"});
  return decoder->spec();
}

DecoderSpec read_decoder_spec(const nlohmann::ordered_json& config, const std::string& where) {
  return decoder_spec_of(*read_model_outline(config, where));
}

}  // namespace lora_dist
