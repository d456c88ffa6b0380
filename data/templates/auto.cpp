// The layout that the base model was made with: its chat template, executed; alpaca where it has
// none.
//
// A template that cannot be executed is replaced by the family whose markers it writes, and what is
// known to differ is said.
#include <algorithm>
#include <array>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/printable.hpp"
#include "data/templates/chat_template.hpp"

namespace lora_dist {
namespace {

struct Family {
  const char* name;
  std::array<const char*, 2> markers;  // all of them occur; an empty one always does
};

// Looked through in this order.
constexpr Family kFamilies[] = {{"chatml", {"<|im_start|>", ""}},
                                {"llama3", {"<|start_header_id|>", ""}},
                                {"gemma", {"<start_of_turn>", ""}},
                                {"phi3", {"<|user|>", "<|end|>"}},
                                {"llama2", {"[INST]", ""}}};

std::string family_of(const std::string& chat) {
  for (const Family& family : kFamilies) {
    const bool found =
        std::all_of(family.markers.begin(), family.markers.end(),
                    [&](const char* marker) { return chat.find(marker) != std::string::npos; });
    if (found) return family.name;
  }
  return "alpaca";
}

/// What a template writes that the built-in layouts leave out.
std::string left_out(const std::string& chat) {
  constexpr std::array<std::array<const char*, 2>, 5> kParts = {{{"strftime_now", "a date"},
                                                                 {"<think>", "a <think> block"},
                                                                 {"tools", "tools"},
                                                                 {"default_system",
                                                                  "a default "
                                                                  "system turn"},
                                                                 {"You are",
                                                                  "a default system "
                                                                  "turn"}}};
  std::vector<std::string> parts;
  for (const auto& [mark, meaning] : kParts)
    if (chat.find(mark) != std::string::npos && std::ranges::count(parts, meaning) == 0)
      parts.emplace_back(meaning);
  return parts.empty() ? "white space, BOS or a system turn may differ"
                       : fmt::format("it leaves out {}", fmt::join(parts, ", "));
}

bool lay_out_alike(const PromptTemplate& a, const PromptTemplate& b, const Tokenizer& tokenizer) {
  const std::vector<std::vector<Message>> records = {{{"user", " Hi "}, {"assistant", " Hello "}},
                                                     {{"system", "Be brief."},
                                                      {"user", "One"},
                                                      {"assistant", "1"},
                                                      {"user", "Two"},
                                                      {"assistant", "2"}}};
  return std::ranges::all_of(records, [&](const std::vector<Message>& record) {
    const Tokens of_a = a.encode_training(record, tokenizer, /*train_on_prompt=*/false);
    const Tokens of_b = b.encode_training(record, tokenizer, /*train_on_prompt=*/false);
    return of_a.ids == of_b.ids && of_a.loss_mask == of_b.loss_mask;
  });
}

}  // namespace

bool lays_out_as(const PromptTemplate& prompt_template, const std::string& sha256,
                 const Tokenizer& tokenizer) {
  if (prompt_template.sha256() == sha256) return true;
  if (tokenizer.chat_template().empty()) return false;
  const auto family = make_template(family_of(tokenizer.chat_template()), tokenizer);
  try {
    const bool is_family = family->sha256() == sha256;
    return is_family && lay_out_alike(prompt_template, *family, tokenizer);
  } catch (const DataError&) {  // one of the two takes no such conversation
    return false;
  }
}

std::unique_ptr<PromptTemplate> make_auto_template(const Tokenizer& tokenizer) {
  const std::string& chat = tokenizer.chat_template();
  if (chat.empty()) return make_template("alpaca", tokenizer);
  try {
    return execute_chat_template(tokenizer);
  } catch (const jinja::Failure& failure) {
    const std::string family = family_of(chat);
    log_warning(
        fmt::format("the chat template of the base model cannot be executed ({}); template: {} is "
                    "used instead, and {}",
                    printable(failure.what(), 200), family, left_out(chat)));
    return make_template(family, tokenizer);
  }
}

}  // namespace lora_dist
