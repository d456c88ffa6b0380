// A base model folder as every command opens it: config, weights, tokenizer, template, adapters on
// top.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/adapters/adapter.hpp"
#include "core/config/config.hpp"
#include "core/models/decoder/decoder.hpp"
#include "core/planning/sharding.hpp"
#include "core/sockets/communicator.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

/// "adapter=PATH[:weight]" of the command line.
struct AdapterChoice {
  std::string path;
  double weight = 1;
};
AdapterChoice parse_adapter_choice(const std::string& text);

/// The folder from which this rank opens the config's base model: the user's, or where its host has
/// the weights alone, one below output_dir with the other files of rank 0.
///
/// Ranks   collective.
/// Errors  ModelError: no weights on this host; StorageError.
std::string base_dir_of_rank(const Config& config, Communicator& world);

struct OpenedModel {
  std::string folder;
  nlohmann::ordered_json config;
  std::unique_ptr<WeightSource> files;    // mapped
  std::unique_ptr<WeightSource> weights;  // copies on the device, or gathered; null where the model
                                          // reads the files themselves
  std::unique_ptr<ModelOutline> outline;
  std::unique_ptr<Model> model;
  std::vector<std::unique_ptr<Adapter>> adapters;   // attached, their index is their id
  std::unique_ptr<Tokenizer> tokenizer;             // null where the folder has none
  std::unique_ptr<PromptTemplate> prompt_template;  // null without a tokenizer
  bool template_is_fallback = false;  // auto, and neither an adapter nor the base has one
  std::vector<int64_t> eos_ids;       // that end a text, by generation_config.json or config.json

  /// Errors  ModelError: the base is no language model.
  Decoder& decoder() const { return as_decoder(*model); }
};

struct OpenRequest {
  std::string base;
  std::string dtype = "auto";
  std::string device = "auto";
  int local_rank = 0;
  Sharding sharding = Sharding::shared;  // a GPU always gets a copy of the base
  Communicator* gather_group = nullptr;  // of a gathered base; outlives the model
  std::string template_name =
      "auto";  // auto: what the adapter was trained with, else what the tokenizer suggests
  bool recompute_blocks = false;
  bool deterministic = true;
  bool needs_tokenizer = true;
  std::vector<AdapterChoice> adapters;
};

/// Errors  ModelError, ConfigError.
OpenedModel open_model(const OpenRequest& request);

/// Puts the weights of a model without adapters where `request` wants them (a copy, a device,
/// gathered slices) and lets it read them there: `model.model` is another object afterwards.
/// Errors  c10::OutOfMemoryError; StorageError, ModelError of the files.
void place_weights(OpenedModel& model, const OpenRequest& request);

/// What decides whether blocks can run as CUDA graphs.
struct GraphConditions {
  at::Device device = at::kCPU;
  int capability = 0;  // 10 * major + minor of the GPU
  Sharding sharding = Sharding::none;
  at::ScalarType multiplied = at::kFloat;  // the number format of products
  const WeightSource& weights;
};
/// Why they cannot, as the second half of a sentence; empty where they can.
std::string obstacle_to_graphs(const GraphConditions& conditions);

/// The dtype of activations that `dtype` (auto, bf16, fp32) means here.
at::ScalarType compute_dtype(const std::string& dtype, at::Device device);

}  // namespace lora_dist
