// lora-dist generate: what the model answers, with any number of weighted adapters on the base.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/error.hpp"
#include "core/generation.hpp"
#include "data/files.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/run/base_model.hpp"

namespace lora_dist {
namespace {

std::vector<Message> messages_of(const std::string& path) {
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(read_file(path, 64 << 20));
    if (parsed.is_object()) parsed = parsed.at("messages");
    std::vector<Message> messages;
    for (const auto& entry : parsed) messages.push_back({entry.at("role"), entry.at("content")});
    return messages;
  } catch (const nlohmann::json::exception& failure) {
    throw DataError({.where = path,
                     .found = fmt::format("no conversation ({})", failure.what()),
                     .expected = R"([{"role": "user", "content": "..."}])",
                     .fix = "write a JSON list of messages"});
  }
}

class GenerateCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("--base", open_.base, "folder of the base model")->required();
    app.add_option("--adapter", adapters_,
                   "PATH or PATH:weight of an adapter; may be given several times");
    auto* prompt = app.add_option("--prompt", prompt_, "a question");
    app.add_option("--messages", messages_, "JSON file with a conversation")->excludes(prompt);
    app.add_option("--template", open_.template_name,
                   "prompt layout; auto: the adapter's or the tokenizer's");
    app.add_option("--max-new-tokens", generation_.max_new_tokens, "limit of the answer")
        ->capture_default_str();
    app.add_option("--temperature", generation_.temperature, "0 is greedy")->capture_default_str();
    app.add_option("--top-p", generation_.top_p, "share of probability that sampling draws from")
        ->capture_default_str();
    app.add_option("--seed", generation_.seed, "of sampling")->capture_default_str();
    app.add_option("--dtype", open_.dtype, "auto, bf16 or fp32")->capture_default_str();
    app.add_option("--device", open_.device, "auto, cuda or cpu")->capture_default_str();
    app.add_flag("--json", json_, "print one JSON object");
  }

  int run() override {
    if (prompt_.empty() && messages_.empty()) {
      throw ConfigError({.where = "generate",
                         .found = "no prompt",
                         .expected = {},
                         .fix = "write --prompt \"...\" or --messages FILE"});
    }
    for (const std::string& text : adapters_) open_.adapters.push_back(parse_adapter_choice(text));
    const OpenedModel model = open_model(open_);
    const std::vector<Message> messages =
        messages_.empty() ? std::vector<Message>{{"user", prompt_}} : messages_of(messages_);
    const std::vector<TokenId> prompt =
        model.prompt_template->encode_prompt(messages, *model.tokenizer);
    generation_.stop_ids = model.eos_ids;
    for (const TokenId id : model.prompt_template->stop_ids(*model.tokenizer))
      generation_.stop_ids.push_back(id);
    const Generation result = generate(*model.decoder, {prompt.begin(), prompt.end()}, generation_);
    const std::vector<int64_t> written = result.text_ids();
    const std::string text = model.tokenizer->decode({written.begin(), written.end()},
                                                     /*skip_special_tokens=*/true);
    if (json_) {
      const nlohmann::ordered_json answer = {{"text", text},
                                             {"ids", result.ids},
                                             {"prompt_tokens", prompt.size()},
                                             {"finish_reason", result.finish_reason}};
      std::puts(answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    } else {
      std::puts(text.c_str());
    }
    return 0;
  }

 private:
  OpenRequest open_;
  GenerationOptions generation_;
  std::vector<std::string> adapters_;
  std::string prompt_, messages_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_generate_command() { return std::make_unique<GenerateCommand>(); }

}  // namespace lora_dist
