// lora-dist tokenize: what the trainer would see of a text, a conversation or a data set. No
// weights are read, no device is touched.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <sstream>

#include <CLI/CLI.hpp>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/encoders/sample_encoder.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/preparation/record_notes.hpp"
#include "data/shards/part_file.hpp"
#include "data/sources/conversation.hpp"
#include "data/sources/source.hpp"
#include "data/templates/template.hpp"
#include "data/tokenizers/readable.hpp"
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

class TokenizeCommand : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("--base", base_, "folder of the base model")->required();
    app.add_flag("--json", json_, R"(one JSON object per record: {"ids", "pieces", "loss_mask"})");
    app.add_flag("--messages", messages_,
                 "the input is conversations: JSON lists of {role, content}, one per line of a "
                 "file; one that waits for its answer is shown as the prompt it is");
    app.add_option("--template", template_,
                   fmt::format("lays out the conversations; auto: the base model's own; known: {}",
                               fmt::join(prompt_templates().names(), ", ")));
    app.add_option("--data-format", format_, "auto, or the format of the records")
        ->capture_default_str();
    app.add_option("--max-seq-length", max_seq_length_, "cut after so many tokens; 0: never")
        ->check(at_least_zero());
    app.add_flag("--train-on-prompt", train_on_prompt_, "as the key of that name");
    app.add_option("--count", count_, "show so many records; 0: all")->check(at_least_zero());
    CLI::Option_group* input = app.add_option_group("input");
    text_option_ = input->add_option("--text", text_, "the input itself");
    input->add_option("--file", file_, "a data file or folder, as train_data_dir");
  }

  int run() override {
    const bool has_text = text_option_->count() > 0;
    if (has_text != file_.empty())
      throw ConfigError(
          {.where = "command line",
           .found = has_text ? "--text and --file together" : "no input",
           .expected = {},
           .fix = has_text ? "keep one of them" : "write --file FILE for data, or --text \"...\""});
    tokenizer_ = load_tokenizer(base_);
    if (messages_)
      show_conversations();
    else if (file_.empty())
      show(cut(encode_text(text_, *tokenizer_)));
    else
      show_data();
    if (num_cut_ > 0)
      log_warning(fmt::format("{} of {} records are cut at --max-seq-length {}", num_cut_,
                              num_shown_, max_seq_length_));
    if (num_without_labels_ > 0)
      log_warning(
          fmt::format("{} of {} records have nothing to learn; training refuses or skips "
                      "them (data_errors)",
                      num_without_labels_, num_shown_));
    return 0;
  }

 private:
  bool is_enough() const { return count_ > 0 && num_shown_ >= count_; }

  void show_conversations() {
    const std::unique_ptr<PromptTemplate> prompt_template = make_template(template_, *tokenizer_);
    const std::vector<Line> lines =
        file_.empty() ? std::vector<Line>{{text_, "--text"}} : read_lines(file_);
    for (const Line& line : lines) {
      if (is_enough()) return;
      show(cut(encode_conversation(line, *prompt_template)));
    }
  }

  Tokens encode_conversation(const Line& line, const PromptTemplate& prompt_template) const {
    const std::vector<Message> messages = read_conversation(line.text, line.where);
    try {
      if (messages.back().role == "assistant")
        return prompt_template.encode_training(messages, *tokenizer_, train_on_prompt_);
      Tokens tokens{.ids = prompt_template.encode_prompt(messages, *tokenizer_), .loss_mask = {}};
      tokens.loss_mask.resize(tokens.ids.size());
      return tokens;
    } catch (const DataError& error) {
      throw DataError({.where = line.where, .found = error.what(), .expected = {}, .fix = {}});
    }
  }

  /// Every record of a data set by the ways of training.
  void show_data() {
    const SourceFiles files = find_sources(file_, format_);
    for (const std::string& note : files.notes) log_warning(note);
    if (files.is_prepared()) return show_parts(files);
    std::unique_ptr<PromptTemplate> prompt_template;
    if (files.needs_tokenizer()) prompt_template = make_template(template_, *tokenizer_);
    const auto encoder = sample_encoders().at(kTextGeneration)(
        {.tokenizer = tokenizer_.get(),
         .prompt_template = prompt_template.get(),
         .limits = {.vocab_size = std::numeric_limits<TokenId>::max(), .max_seq_length = limit()},
         .train_on_prompt = train_on_prompt_});
    RecordNotes notes;
    for (size_t i = 0; i < files.paths.size() && !is_enough(); ++i) {
      if (!json_) std::puts(fmt::format("{}: format {}", files.paths[i], files.formats[i]).c_str());
      const std::unique_ptr<Source> source = open_source(files.paths[i], files.formats[i]);
      while (!is_enough()) {
        const std::optional<Record> record = source->next();
        if (!record) break;
        for (const std::string& note : record->notes) notes.add(note, record->where);
        const EncodedRecord encoded = encoder->encode(*record);
        for (const std::string& note : encoded.notes) notes.add(note, record->where);
        num_cut_ += encoded.cut;
        for (const Sample& sample : encoded.samples)
          if (!is_enough()) show(tokens_of(sample), record->where);
      }
    }
    for (const std::string& line : notes.lines()) log_warning(line);
  }

  void show_parts(const SourceFiles& files) {
    const SampleSchema schema = tasks().at(kTextGeneration).schema({});
    for (const std::string& path : files.paths) {
      const std::unique_ptr<PartFile> part = PartFile::open(path, schema);
      const std::string made_with = part->attributes().origin("tokenizer_sha256");
      if (made_with != tokenizer_->sha256())
        log_warning(path + (made_with.empty() ? ": does not say which tokenizer made it"
                                              : ": made with another tokenizer"));
      for (int64_t i = 0; i < part->num_samples() && !is_enough(); ++i)
        show(cut(tokens_of(part->read(i))), path);
    }
  }

  int64_t limit() const {
    return max_seq_length_ > 0 ? max_seq_length_ : std::numeric_limits<int64_t>::max();
  }

  Tokens cut(Tokens tokens) {
    if (static_cast<int64_t>(tokens.ids.size()) <= limit()) return tokens;
    ++num_cut_;
    tokens.ids.resize(max_seq_length_);
    tokens.loss_mask.resize(max_seq_length_);
    return tokens;
  }

  void show(const Tokens& tokens, const std::string& where = {}) {
    ++num_shown_;
    num_without_labels_ += !messages_ && count_labels(tokens.loss_mask) == 0;
    const std::string shown = json_ ? as_json(tokens) : as_table(tokens, where);
    std::fputs(shown.c_str(), stdout);
  }

  std::string as_json(const Tokens& tokens) const {
    nlohmann::ordered_json record = {
        {"ids", tokens.ids}, {"pieces", nlohmann::json::array()}, {"loss_mask", tokens.loss_mask}};
    for (const TokenId id : tokens.ids) record["pieces"].push_back(tokenizer_->piece(id));
    return utf8_dump(record) + "\n";
  }

  std::string as_table(const Tokens& tokens, const std::string& where) const {
    constexpr auto kGreen = "\x1b[32m", kPlain = "\x1b[0m";
    const bool coloured = isatty(STDOUT_FILENO) != 0;
    const auto num_learnt = std::count(tokens.loss_mask.begin(), tokens.loss_mask.end(), 1);
    std::string table =
        fmt::format("record {}{}: {} tokens, {} learnt\n", num_shown_,
                    where.empty() ? "" : " (" + where + ")", tokens.ids.size(), num_learnt);
    for (size_t i = 0; i < tokens.ids.size(); ++i) {
      const bool learnt = tokens.loss_mask[i] != 0;
      const bool paint = learnt && coloured;
      table += fmt::format("{}{:>8} {} {}{}\n", paint ? kGreen : "", tokens.ids[i],
                           learnt ? "learnt" : "  -   ", readable_piece(tokens.ids[i], *tokenizer_),
                           paint ? kPlain : "");
    }
    return table;
  }

  CLI::Option* text_option_ = nullptr;
  std::string base_, template_ = "auto", format_ = "auto", text_, file_;
  bool json_ = false, messages_ = false, train_on_prompt_ = false;
  int64_t max_seq_length_ = 0, count_ = 0;
  std::unique_ptr<Tokenizer> tokenizer_;
  int64_t num_shown_ = 0, num_cut_ = 0, num_without_labels_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_tokenize_command() { return std::make_unique<TokenizeCommand>(); }

}  // namespace lora_dist
