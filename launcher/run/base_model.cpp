#include "launcher/run/base_model.hpp"

#include <cmath>
#include <filesystem>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/models/model_families.hpp"
#include "core/weights/resident_weights.hpp"
#include "data/weights/base_folder.hpp"
#include "data/weights/base_view.hpp"
#include "data/weights/generation_config.hpp"
#include "dist/sharding/sharded_weights.hpp"
#include "launcher/run/device.hpp"

namespace lora_dist {
namespace {

std::vector<std::string> modules_of(const LoadedAdapter& adapter) {
  std::vector<std::string> modules;
  for (const auto& [name, tensor] : adapter.tensors) {
    const std::string module = ModuleRole::of(name).module;
    if (modules.empty() || modules.back() != module) modules.push_back(module);  // in name order
  }
  return modules;
}

std::unique_ptr<Adapter> put_on(Model& model, const LoadedAdapter& loaded, double weight, int id) {
  AdapterArgs args{.groups = model.linear_groups(),
                   .config = loaded.description.settings,
                   .targets = modules_of(loaded),
                   .compute = model.options().compute,
                   .device = model.options().device};
  args.config.lora_dropout = 0;  // it is not trained on
  const std::vector<std::string> known = model.outline().table().linear_modules();
  for (const std::string& target : args.targets) {
    if (std::find(known.begin(), known.end(), target) == known.end()) {
      throw ModelError(
          {.where = loaded.path,
           .found = fmt::format("adapter for layer '{}', which the base does not have", target),
           .expected = {},
           .fix = "use the base model that the adapter was trained on"});
    }
  }
  std::unique_ptr<Adapter> adapter = make_adapter(std::move(args));
  adapter->params().assign(loaded.tensors, loaded.path);
  adapter->attach(weight, id);
  return adapter;
}

// The weights where `request` wants them, and the model that reads them there.
void build_model(OpenedModel& model, const OpenRequest& request) {
  ModelOptions options;
  options.device = choose_device(request.device, request.local_rank);
  if (is_gathered(request.sharding)) {
    model.weights =
        make_sharded_weights(*model.files, weight_units(model.outline->table(), *model.files),
                             *request.gather_group, options.device);
  } else if (request.sharding == Sharding::none || !options.device.is_cpu()) {
    model.weights = make_resident_weights(*model.files, options.device);
  }
  WeightSource& weights = model.weights ? *model.weights : *model.files;
  options.compute = compute_dtype(request.dtype, options.device);
  options.recompute_blocks = request.recompute_blocks;
  options.deterministic = request.deterministic;
  model.model = model.outline->build(weights, options);
}

}  // namespace

AdapterChoice parse_adapter_choice(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || std::filesystem::exists(text)) return {text, 1};
  const std::string number = text.substr(colon + 1);
  size_t used = 0;
  double weight = 0;
  try {
    weight = std::stod(number, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (number.empty() || used != number.size() || !std::isfinite(weight)) {
    throw ConfigError({.where = "--adapter",
                       .found = fmt::format("weight '{}'", number),
                       .expected = "a number",
                       .fix = "write PATH or PATH:0.8"});
  }
  return {text.substr(0, colon), weight};
}

at::ScalarType compute_dtype(const std::string& dtype, at::Device device) {
  if (dtype == "bf16") return at::kBFloat16;
  if (dtype == "fp32") return at::kFloat;
  return device.is_cuda() || ops::has_fast_bf16() ? at::kBFloat16 : at::kFloat;
}

std::string base_dir_of_rank(const Config& config, Communicator& world) {
  const std::string view = (std::filesystem::path(config.state.output_dir) / "base_view").string();
  return open_base_view(config.model.base_model, view, world);
}

void place_weights(OpenedModel& model, const OpenRequest& request) {
  model.model.reset();  // it reads the weights that are replaced
  build_model(model, request);
}

std::string obstacle_to_graphs(const GraphConditions& conditions) {
  if (!conditions.device.is_cuda()) return "this run computes on the CPU";
  if (conditions.capability < 80)
    return "that takes a GPU from Ampere on and a build with the CUDA profile";
  if (is_gathered(conditions.sharding))
    return fmt::format("sharding: {} gathers the layers anew in each pass",
                       sharding_name(conditions.sharding));
  // A converted piece lies in a buffer that the next one overwrites, and that may move.
  for (const WeightInfo& weight : conditions.weights.weights()) {
    if (weight.shape.size() == 2 && weight.format->plain != conditions.multiplied)
      return fmt::format("'{}' is stored as {} and multiplied as {}", weight.name,
                         weight.format->name, plain_format(conditions.multiplied).name);
  }
  return {};
}

OpenedModel open_model(const OpenRequest& request) {
  OpenedModel model;
  model.folder = request.base;
  model.config = read_model_config(request.base);
  model.outline = read_model_outline(model.config, request.base + "/config.json");
  const int64_t vocab_size = decoder_spec_of(*model.outline).vocab_size;
  model.eos_ids = read_eos_ids(request.base);
  std::erase_if(model.eos_ids, [&](int64_t id) {
    if (id < vocab_size) return false;
    log_warning(fmt::format("{}: eos_token_id {} is beyond the vocabulary of {} and ends no text",
                            request.base, id, vocab_size));
    return true;
  });
  model.files = open_base_weights(request.base);
  model.outline->settle(*model.files);
  build_model(model, request);
  std::string template_name = request.template_name;
  for (const AdapterChoice& choice : request.adapters) {
    const LoadedAdapter loaded = load_adapter(choice.path);
    const auto id = static_cast<int>(model.adapters.size());
    model.adapters.push_back(put_on(*model.model, loaded, choice.weight, id));
    if (template_name == "auto" && !loaded.description.template_name.empty())
      template_name = loaded.description.template_name;
  }
  if (request.needs_tokenizer) {
    model.tokenizer = load_tokenizer(request.base);
    model.template_is_fallback =
        template_name == "auto" && model.tokenizer->chat_template().empty();
    model.prompt_template = make_template(template_name, *model.tokenizer);
  }
  return model;
}

}  // namespace lora_dist
