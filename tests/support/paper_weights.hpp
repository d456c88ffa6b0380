// Weights that are only names, dtypes and shapes: a base of any size that takes no memory.
#pragma once

#include <string>
#include <vector>

#include "core/models/decoder/decoder_outline.hpp"
#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// Every tensor of a spec in bf16; one that is acquired is made then, all its values alike.
class PaperWeights final : public WeightSource {
 public:
  explicit PaperWeights(const DecoderSpec& spec) {
    const DecoderOutline outline(spec);
    for (const WeightRow& row : outline.table().rows())
      weights_.push_back({row.name, &plain_format(at::kBFloat16), row.shape});
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override {
    return at::full(weights_[index].shape, 0.02, at::kBFloat16);
  }

 private:
  std::string location_ = "paper";
  std::vector<WeightInfo> weights_;
};

struct LlamaShape {
  int64_t layers, width, feed_forward, heads, kv_heads, vocabulary;
  bool tied = false;
};

inline nlohmann::ordered_json paper_llama_config(const LlamaShape& shape) {
  return {{"model_type", "llama"},
          {"architectures", {"LlamaForCausalLM"}},
          {"num_hidden_layers", shape.layers},
          {"hidden_size", shape.width},
          {"intermediate_size", shape.feed_forward},
          {"num_attention_heads", shape.heads},
          {"num_key_value_heads", shape.kv_heads},
          {"vocab_size", shape.vocabulary},
          {"max_position_embeddings", 8192},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},
          {"tie_word_embeddings", shape.tied}};
}

inline DecoderSpec paper_llama(const LlamaShape& shape) {
  return read_decoder_spec(paper_llama_config(shape), "paper/config.json");
}

/// Module paths "model.layers.0.self_attn.q_proj" of these layers in every block.
inline std::vector<std::string> modules_of_every_block(const DecoderSpec& spec,
                                                       const std::vector<std::string>& names) {
  std::vector<std::string> modules;
  for (const std::string& module : DecoderOutline(spec).table().linear_modules())
    for (const std::string& name : names)
      if (module.ends_with("." + name)) modules.push_back(module);
  return modules;
}

inline constexpr LlamaShape kLlama3_8B = {32, 4096, 14336, 32, 8, 128256};
inline constexpr LlamaShape kLlama3_70B = {80, 8192, 28672, 64, 8, 128256};
inline const std::vector<std::string> kAllLinear = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                    "gate_proj", "up_proj", "down_proj"};

}  // namespace lora_dist
