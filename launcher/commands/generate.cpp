// lora-dist generate: what the model answers, with any number of weighted adapters on the base.
#include <cmath>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/models/decoder/generation.hpp"
#include "data/io/files.hpp"
#include "data/sources/conversation.hpp"
#include "data/tokenizers/text_stream.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/option_values.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/stop_signals.hpp"

namespace lora_dist {
namespace {

std::vector<Message> messages_of(const std::string& path) {
  std::vector<Message> messages = read_conversation(read_file(path, 64 << 20), path);
  if (messages.back().role != "user")
    throw DataError({.where = path,
                     .found = fmt::format("messages[{}] has role '{}'", messages.size() - 1,
                                          messages.back().role),
                     .expected = "user, whom the answer is for",
                     .fix = {}});
  return messages;
}

void require_possible(const GenerationOptions& options) {
  const auto require = [](bool holds, const char* option, const std::string& found,
                          const char* expected) {
    if (!holds)
      throw ConfigError({.where = option, .found = found, .expected = expected, .fix = {}});
  };
  require(std::isfinite(options.temperature) && options.temperature >= 0, "--temperature",
          fmt::format("{}", options.temperature), "0 (greedy) or more");
  require(options.top_p > 0 && options.top_p <= 1, "--top-p", fmt::format("{}", options.top_p),
          "a share above 0, at most 1");
  require(options.top_k >= 0, "--top-k", fmt::format("{}", options.top_k),
          "0 (all tokens) or a count");
  require(options.max_new_tokens >= 1, "--max-new-tokens",
          fmt::format("{}", options.max_new_tokens), "1 or more");
}

class GenerateCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.footer(
        "Of the base model's generation_config.json the tokens that end a text are taken; its\n"
        "temperature, top_p and the like are not: what is not asked for is greedy.");
    app.add_option("--base", open_.base, "folder of the base model")->required();
    app.add_option("--adapter", adapters_,
                   "PATH or PATH:weight of an adapter; may be given several times");
    has_prompt_ = app.add_option("--prompt", prompt_, "a question, or with --raw a text to go on");
    app.add_option("--messages", messages_, "JSON file with a conversation")->excludes(has_prompt_);
    app.add_flag("--raw", raw_,
                 "no layout: the model goes on with the prompt; so it is for a base without chat "
                 "template, unless --template or an adapter names a layout");
    app.add_option("--template", open_.template_name,
                   "prompt layout; auto: the adapter's or the tokenizer's");
    app.add_option("--max-new-tokens", generation_.max_new_tokens, "limit of the answer")
        ->capture_default_str();
    app.add_option("--temperature", generation_.temperature, "0 is greedy")->capture_default_str();
    app.add_option("--top-p", generation_.top_p, "share of probability that sampling draws from")
        ->capture_default_str();
    app.add_option("--top-k", generation_.top_k, "tokens that sampling draws from; 0: all")
        ->capture_default_str();
    app.add_option("--seed", generation_.seed, "of sampling")->capture_default_str();
    app.add_option("--dtype", open_.dtype, "auto, bf16 or fp32")
        ->capture_default_str()
        ->check(one_of_words({"auto", "bf16", "fp32"}));
    app.add_option("--device", open_.device, "auto, cuda or cpu")
        ->capture_default_str()
        ->check(one_of_words({"auto", "cuda", "cpu"}));
    app.add_flag("--json", json_, "print one JSON object when the text is complete");
  }

  int run() override {
    watch_stop_signals("no more text");
    require_possible(generation_);
    if (has_prompt_->count() == 0 && messages_.empty())
      throw ConfigError({.where = "generate",
                         .found = "no prompt",
                         .expected = {},
                         .fix = "write --prompt \"...\" or --messages FILE"});
    if (raw_ && !messages_.empty())
      throw ConfigError({.where = "--raw",
                         .found = "with --messages",
                         .expected = "a text, which has no turns",
                         .fix = "write --prompt \"...\", or leave out --raw"});
    for (const std::string& text : adapters_) open_.adapters.push_back(parse_adapter_choice(text));
    const OpenedModel model = open_model(open_);
    const std::vector<TokenId> prompt = prompt_ids(model);
    const bool limited = keep_within_positions(prompt.size(), model.decoder().spec().max_positions);
    generation_.stop_ids = model.eos_ids;
    for (const TokenId id : model.prompt_template->stop_ids(*model.tokenizer))
      generation_.stop_ids.push_back(id);

    TextStream stream(*model.tokenizer);
    const auto show = [&](const std::string& text) {
      if (json_ || text.empty()) return;
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
    };
    const Generation result =
        generate(model.decoder(), {prompt.begin(), prompt.end()}, generation_,
                 [&](int64_t id) { show(stream.add(static_cast<TokenId>(id))); });
    show(stream.finish() + "\n");
    if (json_) print_json(result, prompt.size(), *model.tokenizer);
    if (limited && result.finish_reason == "length")
      log_warning(fmt::format("the text ends at the {} positions of the base model",
                              model.decoder().spec().max_positions));
    return 0;
  }

 private:
  std::vector<TokenId> prompt_ids(const OpenedModel& model) const {
    if (!messages_.empty()) {
      if (model.template_is_fallback)
        log_warning(fmt::format("the base model has no chat template; template: {} is used",
                                model.prompt_template->name()));
      return model.prompt_template->encode_prompt(messages_of(messages_), *model.tokenizer);
    }
    if (!raw_ && !model.template_is_fallback)
      return model.prompt_template->encode_prompt({{"user", prompt_}}, *model.tokenizer);
    if (!raw_)
      log_info(
          "the base model has no chat template: it goes on with the bare prompt (--template "
          "alpaca asks as alpaca does)");
    std::vector<TokenId> ids = encode_raw_prompt(prompt_, *model.tokenizer);
    if (ids.empty())
      throw ConfigError({.where = "--prompt",
                         .found = "an empty text",
                         .expected = "at least one token, for this tokenizer puts no BOS before it",
                         .fix = {}});
    return ids;
  }

  /// True where the answer has to be shorter than was asked for.
  bool keep_within_positions(size_t num_prompt_tokens, int64_t max_positions) {
    const int64_t left = max_positions - static_cast<int64_t>(num_prompt_tokens);
    if (left <= 0)
      throw ConfigError(
          {.where = messages_.empty() ? "--prompt" : messages_,
           .found = fmt::format("{} tokens", num_prompt_tokens),
           .expected = fmt::format("fewer than the {} positions of the base model", max_positions),
           .fix = "shorten it"});
    if (generation_.max_new_tokens <= left) return false;
    generation_.max_new_tokens = left;
    return true;
  }

  static void print_json(const Generation& result, size_t num_prompt_tokens,
                         const Tokenizer& tokenizer) {
    const std::vector<int64_t> written = result.text_ids();
    const std::string text = tokenizer.decode({written.begin(), written.end()},
                                              /*skip_special_tokens=*/true);
    const nlohmann::ordered_json answer = {{"text", text},
                                           {"ids", result.ids},
                                           {"prompt_tokens", num_prompt_tokens},
                                           {"finish_reason", result.finish_reason}};
    std::puts(answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }

  OpenRequest open_;
  GenerationOptions generation_;
  std::vector<std::string> adapters_;
  std::string prompt_, messages_;
  CLI::Option* has_prompt_ = nullptr;
  bool json_ = false, raw_ = false;
};

}  // namespace

std::unique_ptr<Command> make_generate_command() { return std::make_unique<GenerateCommand>(); }

}  // namespace lora_dist
