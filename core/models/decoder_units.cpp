#include "core/models/decoder_units.hpp"

#include <unordered_map>

namespace lora_dist {
namespace {

constexpr size_t kEmbedding = 0;

size_t unit_of_block(int64_t layer) { return 1 + static_cast<size_t>(layer); }

size_t unit_of_head(const DecoderSpec& spec) {
  return spec.tied_embeddings ? kEmbedding : unit_of_block(spec.num_layers);
}

// By the name of a row of the family's table.
size_t unit_of(const DecoderSpec& spec, const std::string& name) {
  static const std::string kBlocks = "model.layers.";
  if (name.starts_with(kBlocks)) return unit_of_block(std::stoll(name.substr(kBlocks.size())));
  return name == spec.embedding_weight ? kEmbedding : unit_of_head(spec);
}

}  // namespace

WeightUnits decoder_units(const DecoderSpec& spec, const WeightSource& source) {
  std::unordered_map<std::string, size_t> index_of;
  for (size_t i = 0; i < source.weights().size(); ++i) index_of[source.weights()[i].name] = i;
  WeightUnits units(unit_of_block(spec.num_layers) + (spec.tied_embeddings ? 0 : 1));
  for (const WeightRow& row : weight_rows(spec)) {
    const auto found = index_of.find(row.name);
    if (found != index_of.end()) units[unit_of(spec, row.name)].push_back(found->second);
  }
  return units;
}

std::vector<size_t> units_of_pass(const DecoderSpec& spec, int64_t lowest_layer) {
  std::vector<size_t> units = {kEmbedding};
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) units.push_back(unit_of_block(layer));
  units.push_back(unit_of_head(spec));
  for (int64_t layer = spec.num_layers - 1; layer >= lowest_layer; --layer)
    units.push_back(unit_of_block(layer));
  return units;
}

}  // namespace lora_dist
