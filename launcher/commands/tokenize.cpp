// lora-dist tokenize: what the trainer would see of a text or a conversation. No weights are read,
// no device is touched.
#include <algorithm>
#include <cstdio>
#include <sstream>

#include <CLI/CLI.hpp>

#include "core/error.hpp"
#include "data/files.hpp"
#include "data/json.hpp"
#include "data/templates/template.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/option_values.hpp"

namespace lora_dist {
namespace {

struct Line {
  std::string text;
  std::string where;  // "chat.jsonl:3"
};

std::vector<Line> read_lines(const std::string& path) {
  std::istringstream stream(read_file(path));
  std::vector<Line> lines;
  std::string text;
  for (int number = 1; std::getline(stream, text); ++number) {
    if (text.ends_with('\r')) text.pop_back();
    if (!text.empty()) lines.push_back({text, fmt::format("{}:{}", path, number)});
  }
  if (lines.empty())
    throw DataError({.where = path, .found = "no text in it", .expected = {}, .fix = {}});
  return lines;
}

/// [{"role": ..., "content": ...}, ...], or an object that has such a list as `messages`.
std::vector<Message> parse_messages(const Line& line) {
  const auto fail = [&](const std::string& found) {
    throw DataError({.where = line.where,
                     .found = found,
                     .expected = R"([{"role": "user", "content": "..."}, ...])",
                     .fix = {}});
  };
  nlohmann::json value;
  try {
    value = parse_json<nlohmann::json>(line.text);
  } catch (const JsonFault& fault) {
    fail(fmt::format("byte {}: {}", fault.byte, fault.found));
  }
  if (value.is_object() && value.contains("messages")) value = nlohmann::json(value["messages"]);
  if (!value.is_array() || value.empty()) fail("no list of messages");
  std::vector<Message> messages;
  for (const auto& turn : value) {
    const bool complete = turn.is_object() && turn.contains("role") && turn["role"].is_string() &&
                          turn.contains("content") && turn["content"].is_string();
    if (!complete) fail(fmt::format("messages[{}] lacks a role or a content", messages.size()));
    messages.push_back({.role = turn["role"], .content = turn["content"]});
  }
  return messages;
}

class TokenizeCommand : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("--base", base_, "folder of the base model")->required();
    app.add_flag("--json", json_, R"(one JSON object per record: {"ids", "pieces", "loss_mask"})");
    app.add_flag(
        "--messages", messages_,
        "the input is conversations: JSON lists of {role, content}, one per line of a file");
    app.add_option(
        "--template", template_,
        "lays out the conversations: auto, alpaca, chatml, gemma, llama2, llama3, phi3, plain");
    app.add_option("--max-seq-length", max_seq_length_, "cut after so many tokens; 0: never")
        ->check(at_least_zero());
    CLI::Option_group* input = app.add_option_group("input");
    input->add_option("--text", text_, "the input itself");
    input->add_option("--file", file_, "a file with one record per line");
    input->require_option(1);
  }

  int run() override {
    const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(base_);
    const std::vector<Line> lines =
        file_.empty() ? std::vector<Line>{{text_, "--text"}} : read_lines(file_);
    std::unique_ptr<PromptTemplate> prompt_template;
    if (messages_) prompt_template = make_template(template_, *tokenizer);
    for (size_t i = 0; i < lines.size(); ++i) {
      Tokens tokens = prompt_template ? encode_conversation(lines[i], *prompt_template, *tokenizer)
                                      : encode_text(lines[i].text, *tokenizer);
      if (max_seq_length_ > 0 && tokens.ids.size() > max_seq_length_) {
        tokens.ids.resize(max_seq_length_);
        tokens.loss_mask.resize(max_seq_length_);
      }
      const std::string shown =
          json_ ? as_json(tokens, *tokenizer) : as_table(i + 1, tokens, *tokenizer);
      std::fputs(shown.c_str(), stdout);
    }
    return 0;
  }

 private:
  /// A conversation that waits for its answer is shown as the prompt it is: nothing of it is
  /// learnt.
  static Tokens encode_conversation(const Line& line, const PromptTemplate& prompt_template,
                                    const Tokenizer& tokenizer) {
    const std::vector<Message> messages = parse_messages(line);
    try {
      if (messages.back().role == "assistant")
        return prompt_template.encode_training(messages, tokenizer, /*train_on_prompt=*/false);
      Tokens tokens{.ids = prompt_template.encode_prompt(messages, tokenizer), .loss_mask = {}};
      tokens.loss_mask.resize(tokens.ids.size());
      return tokens;
    } catch (const DataError& error) {
      throw DataError({.where = line.where, .found = error.what(), .expected = {}, .fix = {}});
    }
  }

  static std::string as_json(const Tokens& tokens, const Tokenizer& tokenizer) {
    nlohmann::ordered_json record = {
        {"ids", tokens.ids}, {"pieces", nlohmann::json::array()}, {"loss_mask", tokens.loss_mask}};
    for (const TokenId id : tokens.ids) record["pieces"].push_back(tokenizer.piece(id));
    return record.dump() + "\n";
  }

  static std::string as_table(size_t number, const Tokens& tokens, const Tokenizer& tokenizer) {
    const auto num_learnt = std::count(tokens.loss_mask.begin(), tokens.loss_mask.end(), 1);
    std::string table =
        fmt::format("record {}: {} tokens, {} learnt\n", number, tokens.ids.size(), num_learnt);
    for (size_t i = 0; i < tokens.ids.size(); ++i) {
      // Quoted as JSON, so that spaces and newlines show.
      const std::string piece = nlohmann::json(tokenizer.piece(tokens.ids[i])).dump();
      table += fmt::format("{:>8} {} {}\n", tokens.ids[i],
                           tokens.loss_mask[i] ? "learnt" : "  -   ", piece);
    }
    return table;
  }

  std::string base_, template_ = "auto", text_, file_;
  bool json_ = false, messages_ = false;
  size_t max_seq_length_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_tokenize_command() { return std::make_unique<TokenizeCommand>(); }

}  // namespace lora_dist
